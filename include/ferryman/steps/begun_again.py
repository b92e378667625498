"""How a backfill of monitoring begins: with what earlier nights had told and joined by then.

All that it keeps lies in a place of its own (StepContext.monitoring_root); what nights keep is read
and never written.
"""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from ferryman.monitoring.joined_windows import JoinedWindows
from ferryman.spec.windows import DAY, Window
from ferryman.steps.contract import StepContext
from ferryman.steps.joined_day import DayJoiner, rejoin

_TOLD = ("drift", "events", "decisions", "reports")  # a file a window, of what nights said
_DECLARED = "declarations"  # a file a declaration
_QUIET = 28 * DAY  # how far behind its window a night compares days


def begin_again(joiner: DayJoiner) -> None:
    """Make the run's own place anew: with what nights before this window said, and joined.

    A joined day that was written after the moment that counts is joined again, from what was there
    by then; so is one that no night joined, where it has a snapshot.
    """
    context, window = joiner.context, joiner.context.window
    own = context.monitoring_root / context.model.name
    live = context.settings.monitoring_root / context.model.name
    shutil.rmtree(own, ignore_errors=True)
    for kind in (*_TOLD, _DECLARED):
        for file in sorted((live / kind).rglob("*.json")):
            if kind == _DECLARED or file.stem < window.key:
                _copy(file, own / file.relative_to(live))
    kept = JoinedWindows(context.settings.monitoring_root)
    for day in _days_before(context):
        file = kept.file(context.model.name, day)
        if _was_there(file, context.known_until):
            _copy(file, joiner.store.file(context.model.name, day))
            inputs = file.with_name(f"{day.key}.inputs.json")
            if inputs.is_file():
                _copy(inputs, own / "joined" / inputs.name)
        else:
            rejoin(joiner, day)


def _days_before(context: StepContext) -> Iterator[Window]:
    """The days before the window whose joined rows a night reads, oldest first."""
    monitor, window = context.spec.monitor, context.window
    due = context.spec.data.label.known_after + DAY
    matures = max(monitor.quality.matures, due)
    back = max(monitor.quality.window + due, monitor.drift.window + _QUIET, matures) + matures
    start = (window.start - back).replace(hour=0, minute=0, second=0, microsecond=0)
    while start < window.start:
        yield Window(start=start, end=start + DAY)
        start += DAY


def _was_there(file: Path, moment: datetime | None) -> bool:
    if not file.is_file():
        return False
    return moment is None or datetime.fromtimestamp(file.stat().st_mtime, UTC) <= moment


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
