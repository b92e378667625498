"""Joins the labels that became known in a window to the predictions that were logged."""

from collections import Counter

from pydantic import JsonValue

from ferryman.errors import DependencyUnavailable
from ferryman.runtime.messages import StepResult
from ferryman.spec.windows import Window
from ferryman.steps.begun_again import begin_again
from ferryman.steps.contract import LookBack, StepContext
from ferryman.steps.joined_day import DayJoiner, JoinedDay, refuse_older_labels, rejoin

__all__ = ["Params", "refuse_older_labels", "run"]

_MEASURED = ("matched", "unmatched", "unlabelled", "repeated", "corrected", "retracted", "posted")


class Params(LookBack):
    """What kind of run joins."""


def run(context: StepContext) -> StepResult:
    """Join each day of the window, then earlier days again for which something came since.

    A day that was joined before is replaced as a whole. A backfill joins in a place of its own, and
    the days before its window as well, which its figures look back on.
    """
    joiner = DayJoiner(context)
    if context.restates:
        begin_again(joiner)
    done = [_join(joiner, day) for day in context.window.days()]
    late = [] if context.known_until else joiner.outdated(context.window)
    restated = [day for day in late if rejoin(joiner, day)]
    totals: Counter[str] = Counter()
    for one in done:
        totals.update(one.as_outputs())
    return context.result(
        text=_text(totals, restated),
        outputs={
            "joined": str(done[-1].file),
            "windows": [str(one.file) for one in done],
            "restated": [day.key for day in restated],
            **{name: int(totals[name]) for name in done[0].as_outputs()},
        },
        metrics={name: float(totals[name]) for name in _MEASURED},
        artifacts={"joined": str(done[-1].file)},
    )


def told_labels(context: StepContext) -> dict[str, JsonValue] | None:
    """What `join_labels` counted earlier in this run, for reports; None where it was not run."""
    found = context.request.results.get("join_labels")
    return dict(found.outputs) if found else None


def _join(joiner: DayJoiner, day: Window) -> JoinedDay:
    snapshot, model = joiner.current(day), joiner.context.model.name
    if snapshot is None:
        raise DependencyUnavailable(
            f"window {day} of {model!r} has no published snapshot, so no labels",
            remedy=f"Ingest it first: ferryman run ingest --model {model} "
            f"--window {day.start:%Y-%m-%d}.",
        )
    return joiner.join(day, snapshot)


def _text(totals: Counter[str], restated: list[Window]) -> str:
    parts = [
        f"{totals['matched']} labels joined to {totals['predicted']} predictions",
        f"{totals['unmatched']} labels without one, {totals['unlabelled']} events without label",
    ]
    more = {
        "repeated": "said again",
        "corrected": "changed what was known",
        "retracted": "of them took it back",
        "ambiguous": "name a request of several events",
        "strange": "are of another task or class",
    }
    told = [f"{totals[name]} {said}" for name, said in more.items() if totals[name]]
    if told:
        parts.append(", ".join(told))
    if restated:
        days = ", ".join(f"{day.start:%Y-%m-%d}" for day in restated[:5])
        parts.append(f"{len(restated)} earlier days joined again ({days})")
    return "; ".join(parts)
