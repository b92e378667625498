"""Says of a monitored window what changed since the last one in which nothing alarmed.

Reads reports, profiles of logged days and joined rows; repeating it changes nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferryman.errors import SpecError
from ferryman.ledger.records import Head
from ferryman.monitoring.diagnosis import Culprit, Diagnosis, alarms_of, rank
from ferryman.monitoring.diagnosis_columns import ColumnMove, column_moves
from ferryman.monitoring.diagnosis_slices import BadSlice, Losses, PartedColumn, bad_slices
from ferryman.monitoring.drift import known_profiles
from ferryman.monitoring.labels import first_predictions
from ferryman.monitoring.looks import report_file
from ferryman.profiles.column_profile import Profile
from ferryman.profiles.comparison import named_in
from ferryman.profiles.day_profiles import DayProfiles, merged
from ferryman.runtime.bundle import REFERENCE
from ferryman.runtime.files import read_json
from ferryman.spec.windows import Window
from ferryman.steps.contract import StepContext
from ferryman.steps.diagnosed_changes import found_changes
from ferryman.steps.diagnosed_losses import days_of, labelled_rows, losses_of, weighed
from ferryman.steps.known_then import head_then
from ferryman.steps.logged_answers import logged_answers
from ferryman.steps.logged_days import logged_days

_BACK = timedelta(days=14)  # of good days that the days since are compared with
_MOST_COLUMNS, _MOST_VALUES, _BINS = 20, 20, 4


@dataclass(frozen=True)
class _Reported:
    """A window's stored report."""

    window: Window
    content: Mapping[str, Any]


def diagnose_window(context: StepContext, report: Mapping[str, Any] | None = None) -> Diagnosis:
    """Why this window alarms; without culprits where it does not, or nothing explains it.

    `report` is the window's, where it is not stored yet. SpecError (exit 2) where there is none.
    """
    model, window, spec = context.model.name, context.window, context.spec.monitor
    file = report_file(context.monitoring_root, model, window)
    found = report if report is not None else _stored(file, context)
    alarms = alarms_of(found, spec, window)
    if not alarms:
        return Diagnosis(model, str(window), [], None, report=str(file))
    head, origin = head_then(context), context.origin
    bases: list[_Reported | None] = [*_good_windows(context)] or [None]
    of_loss = bool(alarms_of(_of_labels(found), spec, window))
    told = [(base, _culprits(context, head, base, found, of_loss=of_loss)) for base in bases]
    # The nearer of two that tell as much: less has changed since.
    good, culprits = max(told, key=lambda one: one[1][0].weight if one[1] else 0.0)
    since = str(good.window) if good else None
    return Diagnosis(model, str(window), alarms, since, culprits, str(file), origin)


def _of_labels(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """The report without what labels have no part in: a slice explains a loss, no other drift."""
    findings = (report.get("drift") or {}).get("findings", [])
    concept = [one for one in findings if one.get("kind") == "concept"]
    return {**report, "drift": {"findings": concept}, "slow": []}


def _culprits(
    context: StepContext,
    head: Head | None,
    good: _Reported | None,
    report: Mapping[str, Any],
    *,
    of_loss: bool,
) -> list[Culprit]:
    """What changed since a good window, the likeliest culprit first."""
    span = good.window if good else None
    served = (good.content.get("champion") or {}).get("version") if good else None
    moves = _moves(context, head, span) if head else []
    changes, day = found_changes(context, span, served), f"{context.window.start:%Y-%m-%d}"
    if span is not None:
        changes = [weighed(context, change, span.end - _BACK) for change in changes]
    slices = _slices(context, span) if of_loss else []
    worse = [one for one in report.get("slices") or [] if one.get("outcome") == "worse"]
    return rank(changes, moves, slices, context.model.name, day, worse=worse)


def newest_window(root: Path, model: str) -> Window:
    """The newest window that was monitored; SpecError (exit 2) where none was."""
    newest = max(
        (one.window for one in _reports(root, model)), key=lambda one: one.end, default=None
    )
    if newest is None:
        raise SpecError(
            f"no window of {model!r} was monitored yet",
            remedy=f"Run it first: ferryman run monitoring --model {model} --window DAY.",
        )
    return newest


def _stored(file: Path, context: StepContext) -> Mapping[str, Any]:
    try:
        return dict(read_json(file))
    except (OSError, ValueError, TypeError) as error:
        raise SpecError(
            f"{file}: no report of window {context.window}",
            remedy=f"Run it first: ferryman run monitoring --model {context.model.name} "
            f"--window {context.window.start:%Y-%m-%d}.",
        ) from error


def _reports(root: Path, model: str) -> Iterator[_Reported]:
    for file in sorted((root / model / "reports").glob("*.json")):
        try:
            content = read_json(file)
            ends = [datetime.fromisoformat(content["window"][one]) for one in ("start", "end")]
        except (OSError, ValueError, TypeError, KeyError):
            continue  # what cannot be read is no evidence that a window was good
        yield _Reported(Window(start=ends[0], end=ends[1]), content)


def _good_windows(context: StepContext) -> list[_Reported]:
    """The newest earlier window in whose report nothing alarms, and in which somebody served; then
    the newest such one before the days that this window's figures reach back over: what broke
    slowly, or was slowly proved, was there in the first already.
    """
    spec, window = context.spec.monitor, context.window
    reach = max(spec.quality.window, spec.drift.window) + context.spec.data.label.known_after
    good = [
        one
        for one in _reports(context.monitoring_root, context.model.name)
        if one.window.end <= window.start
        and one.content.get("champion")
        and not alarms_of(one.content, spec, one.window)
    ]
    # A version without labels of its own was quiet because nobody knew better.
    good = [
        one for one in good if (one.content.get("champion_quality") or {}).get("value") is not None
    ] or good
    found: list[_Reported] = []
    for end in (window.start, window.end - reach):
        before = [one for one in good if one.window.end <= end]
        newest = max(before, key=lambda one: one.window.end, default=None)
        if newest is not None and newest not in found:
            found.append(newest)
    return found


def _moves(context: StepContext, head: Head, good: Window | None) -> list[ColumnMove]:
    """How the columns of this window differ from those of good days, or of the training data."""
    spec, window = context.spec.monitor.drift, context.window
    watched = context.spec.features.columns
    reference = known_profiles(read_json(Path(head.bundle) / REFERENCE), watched)
    start = (good.end if good else window.start) - _BACK
    answers = logged_days(
        context,
        Window(start=start, end=window.end),
        watched,
        named_in(reference),
        least=spec.min_rows,
    )
    days, good_end = answers.profiles(), good.end if good else window.start
    now = merged(_between(days, window.start, window.end))
    before = _between(days, start, good_end)
    pooled = merged(before) if good and before else reference
    since = _between(days, good_end, window.start)
    return column_moves(pooled, now, days=before, since=since, seen=reference)


def _between(days: DayProfiles, start: datetime, end: datetime) -> list[Profile]:
    """The days that begin in [start, end), oldest first; none where it is empty."""
    return [days[day] for day in sorted(days) if f"{start:%Y-%m-%d}" <= day < f"{end:%Y-%m-%d}"]


def _slices(context: StepContext, good: Window | None) -> list[BadSlice]:
    """Where the loss of the labels that came since the good window sits."""
    if good is None:
        return []
    start, end = good.end - _BACK, context.window.end
    joined = [
        labelled_rows(context, first, last) for first, last in ((start, good.end), (good.end, end))
    ]
    least = context.spec.monitor.groups.min_labels or context.spec.evaluation.min_rows
    if min(table.num_rows for table in joined) < 2 * least:
        return []
    columns = _columns(context)
    due = context.spec.data.label.known_after
    first_event = min(pc.min(table["event_time"]).as_py() for table in joined)
    log = Window(start=max(first_event, start - due - _BACK), end=end)
    logged = first_predictions(logged_answers(context, log, columns))
    keys = logged["entity_key"].combine_chunks()
    sides = [_Side.of(context, table, logged, keys) for table in joined]
    parted = {
        name: _parted(sides[0].cells[name], sides[1].cells[name])
        for name in columns
        if name in logged.column_names
    }
    return bad_slices(parted, sides[0].losses, sides[1].losses, least=least)


def _columns(context: StepContext) -> list[str]:
    """The columns that slices are made of: those declared as slices, categories, then others."""
    features = context.spec.features.columns
    named = [part.column for part in context.spec.evaluation.slices]
    words = [name for name, kind in features.items() if kind.type == "category"]
    return [*dict.fromkeys([*named, *words, *features])][:_MOST_COLUMNS]


@dataclass(frozen=True)
class _Side:
    """Labelled rows of one side: losses, and the columns that the log kept of them."""

    losses: Losses
    cells: Mapping[str, Any]

    @classmethod
    def of(cls, context: StepContext, joined: Any, logged: Any, keys: Any) -> "_Side":
        losses = losses_of(context, joined)
        found = pc.index_in(joined["entity_key"], value_set=keys)
        known = np.isfinite(losses) & pc.is_valid(found).to_numpy(zero_copy_only=False)
        rows = pa.array(np.flatnonzero(known))
        taken = logged.take(found.take(rows))
        return cls(Losses(losses[known], days_of(joined.take(rows))), _cells(taken))


def _cells(taken: Any) -> Mapping[str, Any]:
    return {name: taken[name] for name in taken.column_names}


def _parted(before: Any, now: Any) -> PartedColumn:
    """A category by its most frequent values, a number by quarters of the good rows."""
    kinds = [before.type, now.type]
    if any(pa.types.is_string(kind) or pa.types.is_dictionary(kind) for kind in kinds):
        words = [pc.fill_null(side.cast(pa.string()), "").to_numpy() for side in (before, now)]
        values, counts = np.unique(np.concatenate(words).astype(str), return_counts=True)
        kept = values[np.argsort(-counts, kind="stable")][:_MOST_VALUES]
        place_of = {word: place for place, word in enumerate(kept.tolist())}
        codes = [np.array([place_of.get(word, -1) for word in side]) for side in words]
        names = [word or "(none)" for word in kept.tolist()]
        return PartedColumn(names, *(side.astype(np.int64) for side in codes))
    numbers = [
        pc.cast(side, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        for side in (before, now)
    ]
    there = numbers[0][np.isfinite(numbers[0])]
    if not len(there):
        return PartedColumn([], *(np.full(len(side), -1, dtype=np.int64) for side in numbers))
    edges = np.unique(np.quantile(there, np.arange(1, _BINS) / _BINS))
    cuts = [f"{edge:.4g}" for edge in edges]
    names = [f"<={cuts[0]}", *(f"{a}..{b}" for a, b in pairwise(cuts))]
    names.append(f">{cuts[-1]}")
    coded = [np.searchsorted(edges, side, side="left").astype(np.int64) for side in numbers]
    for codes, side in zip(coded, numbers, strict=True):
        codes[~np.isfinite(side)] = -1
    return PartedColumn(names, *coded)
