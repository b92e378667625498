"""What slices and groups say to the gate: only a violation that is shown fails.

Many slices are looked at, and by chance alone one of twenty looks bad: each interval of the family
is widened by Bonferroni's rule, so that all of them together hold at the declared confidence.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

from ferryman.evaluation.fairness import FairnessResult, measure_fairness
from ferryman.evaluation.fairness_days import event_days
from ferryman.evaluation.gates import Opinion
from ferryman.evaluation.intervals import Interval, bootstrap, paired_difference
from ferryman.evaluation.measures import Measures
from ferryman.evaluation.metrics import Floats
from ferryman.evaluation.slices import RowPart, part_rows
from ferryman.spec.evaluation import (
    EvaluationSpec,
    FairnessGateSpec,
    GatesSpec,
    SliceGateSpec,
)

if TYPE_CHECKING:
    import pandas as pd

_Finding = Literal["kept", "broken", "open", "unknown"]
# Resamples beyond an interval's end: with fewer the end is the luck of a few draws.
_BEYOND = 5
# The share of a normal distribution within one standard error.
_ONE_ERROR = 0.6827
_MOST_RESAMPLES = 20_000
_NAMED = 5


@dataclass(frozen=True)
class _Evidence:
    """Rows as a gate sees them; `champion` is None where there is none."""

    measures: Measures
    labels: npt.NDArray[Any]
    candidate: Floats
    champion: Floats | None
    seed: int


@dataclass(frozen=True)
class _Look:
    """One slice under one gate."""

    name: str
    rows: int
    finding: _Finding
    interval: Interval | None = None

    @property
    def text(self) -> str:
        if self.interval is None:
            return f"{self.name} (n {self.rows})"
        low, high = self.interval.low, self.interval.high
        return f"{self.name} (n {self.rows}, in [{low:.4g}, {high:.4g}])"


def slice_opinions(  # noqa: PLR0913 - the evidence of a gate
    gates: GatesSpec,
    evaluation: EvaluationSpec,
    measures: Measures,
    frame: "pd.DataFrame",
    *,
    labels: npt.NDArray[Any],
    candidate: Floats,
    champion: Floats | None = None,
    seed: int = 0,
) -> list[Opinion]:
    """Whether each gate of `gates.slices` is broken on a slice of `evaluation.slices`.

    Frame, labels and answers agree row by row. A slice whose whole interval lies beyond the bound
    fails, one whose interval holds the bound passes and is named, and one of fewer than
    `evaluation.min_rows` rows says nothing. `max_worse` compares with the champion on the slice's
    rows, and says nothing without one.
    """
    evidence = _Evidence(measures, labels, candidate, champion, seed)
    parts = [
        RowPart(f"{declared.column} {part.name}", part.places)
        for declared in evaluation.slices
        for part in part_rows(frame[declared.column], declared.bins)
    ]
    enough = [part for part in parts if len(part.places) >= evaluation.min_rows]
    few = len(parts) - len(enough)
    family = len(enough) * len(gates.slices)
    found: list[Opinion] = []
    for gate in gates.slices:
        if gate.max_worse is not None and champion is None:
            found.append(("passed", f"{_asked(gate)}: no champion to compare with"))
            continue
        looks = [_look(gate, gates, evidence, part, family) for part in enough]
        found += _said(gate, looks, few, evaluation.min_rows)
    return found


def fairness_opinions(  # noqa: PLR0913 - the evidence of a gate
    gates: GatesSpec,
    evaluation: EvaluationSpec,
    measures: Measures,
    frame: "pd.DataFrame",
    *,
    labels: npt.NDArray[Any],
    candidate: Floats,
    seed: int = 0,
) -> list[Opinion]:
    """Whether a gap between groups of `gates.fairness` is shown to be too large."""
    # One family: all of these gates together hold at the declared confidence.
    confidence = 1 - (1 - gates.champion.confidence) / max(1, len(gates.fairness))
    return [
        _fair(
            gate,
            measure_fairness(
                measures,
                frame,
                labels,
                candidate,
                column=gate.column,
                metric=gate.metric,
                min_rows=evaluation.min_rows,
                confidence=confidence,
                resamples=gates.resamples,
                seed=seed,
                days=event_days(frame),
            ),
        )
        for gate in gates.fairness
    ]


def _fair(gate: FairnessGateSpec, found: FairnessResult) -> Opinion:
    asked = f"fairness: gap of {gate.metric} between groups of {gate.column}"
    if found.gap is None or found.interval is None:
        return "passed", f"{asked}: {found.text}"
    shown = f"{asked}: {found.text}"
    if found.interval.low > gate.max_gap:
        return "failed", f"{shown}: more than {gate.max_gap:g}"
    if found.interval.high <= gate.max_gap:
        return "passed", f"{shown}: at most {gate.max_gap:g}"
    return "passed", f"{shown}: neither shown nor excluded to be more than {gate.max_gap:g}"


def _look(
    gate: SliceGateSpec,
    gates: GatesSpec,
    evidence: _Evidence,
    part: RowPart,
    family: int,
) -> _Look:
    """Look with the declared confidence; only what seems broken is looked at with the family's."""
    measured = _interval_of(gate, evidence, part)
    declared = gates.champion.confidence
    rows = len(part.places)
    interval = measured(declared, gates.resamples)
    finding = _finding(gate, interval)
    if finding == "broken":
        confidence = 1 - (1 - declared) / family
        interval = _careful(measured, confidence, rows, gates.resamples)
        finding = _finding(gate, interval)
    return _Look(part.name, rows, finding, interval)


def _careful(
    measured: Callable[[float, int], Interval | None], confidence: float, rows: int, resamples: int
) -> Interval | None:
    """An interval that few rows and a high confidence do not make too narrow.

    A percentile interval of few rows is, far out all the more: it is taken at the level that has
    the reach of Student's interval (Hesterberg 2015, "What Teachers Should Know about the
    Bootstrap", section 3.4). Metrics that count rows move in steps, and their draws end early:
    Student's interval itself, from the middle of the draws, is the other bound.
    """
    from scipy.stats import norm, t

    reach = math.sqrt(rows / (rows - 1)) * float(t.ppf(0.5 + confidence / 2, rows - 1))
    tail = float(norm.sf(reach))
    draws = max(resamples, min(math.ceil(_BEYOND / tail), _MOST_RESAMPLES))
    far, near = measured(1 - 2 * tail, draws), measured(_ONE_ERROR, resamples)
    if far is None or near is None:
        return None
    middle, error = (near.high + near.low) / 2, (near.high - near.low) / 2
    return Interval(min(far.low, middle - reach * error), max(far.high, middle + reach * error))


def _interval_of(
    gate: SliceGateSpec, evidence: _Evidence, part: RowPart
) -> Callable[[float, int], Interval | None]:
    """The interval of what the gate bounds on a part's rows, by confidence and resamples.

    That of the metric; for `max_worse` that of the worsening, in the metric's unit.
    """
    measures, places = evidence.measures, part.places
    labels, candidate = evidence.labels[places], evidence.candidate[places]

    def measured(confidence: float, resamples: int) -> Interval | None:
        if gate.max_worse is None or evidence.champion is None:
            return bootstrap(
                measures,
                labels,
                candidate,
                metrics=[gate.metric],
                confidence=confidence,
                resamples=resamples,
                seed=evidence.seed,
            )[gate.metric]
        difference = paired_difference(
            measures,
            labels,
            candidate,
            evidence.champion[places],
            gate.metric,
            confidence=confidence,
            resamples=resamples,
            seed=evidence.seed,
        )
        return Interval(-difference.high, -difference.low) if difference else None

    return measured


def _finding(gate: SliceGateSpec, interval: Interval | None) -> _Finding:
    if interval is None:
        return "unknown"
    if gate.min is not None:
        if interval.high < gate.min:
            return "broken"
        return "kept" if interval.low >= gate.min else "open"
    most = gate.max if gate.max is not None else gate.max_worse
    if most is None or interval.high <= most:
        return "kept"
    return "broken" if interval.low > most else "open"


def _asked(gate: SliceGateSpec) -> str:
    if gate.max_worse is not None:
        return f"slices: {gate.metric} worse than the champion by at most {gate.max_worse:g}"
    bound = f"at least {gate.min:g}" if gate.min is not None else f"at most {gate.max:g}"
    return f"slices: {gate.metric} {bound}"


def _said(gate: SliceGateSpec, looks: Sequence[_Look], few: int, min_rows: int) -> list[Opinion]:
    """One opinion for each broken slice, and one that counts all that were looked at."""
    asked = _asked(gate)
    # The widened interval of a broken slice holds for all slices at once.
    found: list[Opinion] = [
        ("failed", f"{asked}: broken on {look.text}, among {len(looks)} slices looked at")
        for look in looks
        if look.finding == "broken"
    ]
    kept = sum(look.finding == "kept" for look in looks)
    text = f"{asked}: shown on {kept} of {len(looks)} slices looked at"
    for finding, said in (
        ("open", "neither shown nor excluded on"),
        ("unknown", "cannot be had on"),
    ):
        named = [look.text for look in looks if look.finding == finding]
        if named:
            more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
            text += f"; {said} {', '.join(named[:_NAMED])}{more}"
    if few:
        text += f"; not enough data on {few} (n below {min_rows})"
    return [*found, ("passed", text)]
