"""The gate's rule: whether the evidence lets a candidate serve. Pure: arrays in, verdict out.

A threshold must be kept by the worse end of the metric's interval. Against a rival (the champion,
or for a first model the declared baseline) the interval of the paired improvement decides: wholly
above the bar passes, wholly below it fails, and one that holds the bar is undecided. The bar is the
declared margin above the champion (`better`) or below it (`no_worse`); a baseline must be beaten.
What cannot be known is "undecided", and undecided never promotes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.intervals import Difference, Interval, bootstrap, paired_difference
from ferryman.evaluation.measures import Measures
from ferryman.evaluation.metrics import Floats
from ferryman.evaluation.rivals import CHAMPION, Rival
from ferryman.spec.evaluation import GatesSpec, ThresholdSpec

Outcome = Literal["passed", "failed", "undecided"]
# What the comparison with the rival shows, whatever else the gate asks for.
Finding = Literal["better", "no worse", "not better", "worse", "undecided"]
Opinion = tuple[Outcome, str]

# Answers closer than this are equal: it is what a graph in float32 may differ from its model.
_RESOLUTION = 1e-5


@dataclass(frozen=True)
class GateVerdict:
    """What the gate says, and every figure that it rests on.

    `reasons` are the opinions that made the outcome, `opinions` all of them. `rows_needed` is the
    number of evaluation rows that would probably decide, where that is known. `against` is what the
    candidate was compared with, "champion" or "baseline", and `rival` which one that was.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    rows: int
    rows_needed: int | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)
    intervals: dict[str, Interval | None] = field(default_factory=dict)
    against: str = ""
    rival: str = ""
    finding: Finding = "undecided"
    difference: Difference | None = None
    opinions: tuple[Opinion, ...] = ()

    @property
    def text(self) -> str:
        """The verdict as one line."""
        return f"{self.outcome}: {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class _Comparison:
    outcome: Outcome
    text: str
    finding: Finding
    difference: Difference | None
    rows_needed: int | None = None


def judge(  # noqa: PLR0913 - the evidence, and who vouches for it
    spec: GatesSpec,
    measures: Measures,
    labels: npt.ArrayLike,
    candidate: npt.ArrayLike,
    rival: Rival,
    *,
    seed: int = 0,
    leakage_accepted: str = "",
    further: Sequence[Opinion] = (),
) -> GateVerdict:
    """Judge a candidate's answers beside the rival's answers to the same rows.

    Labels and answers as the measures take them. `leakage_accepted` says who took responsibility
    for a result that is too good to be true, and why. `further` are opinions formed elsewhere (on
    slices, fairness, behaviour); each weighs as much as one of the gate's own.
    """
    truth, given = measures.checked(labels, candidate)
    doubt = _doubt(spec, measures, truth, given, rival)
    if doubt is not None:
        return doubt
    metrics = measures.score(truth, given)
    names = list(spec.thresholds)
    intervals = bootstrap(
        measures,
        truth,
        given,
        metrics=list(dict.fromkeys([*names, rival.metric])),
        confidence=spec.champion.confidence,
        resamples=spec.resamples,
        seed=seed,
    )
    compared = _compare(spec, measures, truth, given, rival, seed=seed)
    opinions = [_keeps(name, spec.thresholds[name], intervals[name]) for name in names]
    opinions += [_not_too_good(metrics, leakage_accepted), (compared.outcome, compared.text)]
    opinions = [opinion for opinion in opinions if opinion[1]] + list(further)
    outcome = _worst(opinions)
    return GateVerdict(
        outcome=outcome,
        reasons=_reasons(outcome, opinions, further),
        rows=len(truth),
        rows_needed=compared.rows_needed,
        metrics=metrics,
        intervals=intervals,
        against=rival.kind,
        rival=rival.name,
        finding=compared.finding,
        difference=compared.difference,
        opinions=tuple(opinions),
    )


def _reasons(
    outcome: Outcome, opinions: Sequence[Opinion], further: Sequence[Opinion]
) -> tuple[str, ...]:
    """What made the outcome; where all passed, opinions formed elsewhere are only counted."""
    if outcome != "passed":
        return tuple(text for level, text in opinions if level == outcome)
    own = tuple(text for _, text in opinions[: len(opinions) - len(further)])
    checks = "check" if len(further) == 1 else "checks"
    return (*own, f"{len(further)} further {checks} passed") if further else own


def _worst(opinions: Sequence[Opinion]) -> Outcome:
    levels = {level for level, _ in opinions}
    if "failed" in levels:
        return "failed"
    return "undecided" if "undecided" in levels else "passed"


def _doubt(
    spec: GatesSpec, measures: Measures, truth: npt.NDArray[Any], given: Floats, rival: Rival
) -> GateVerdict | None:
    """Why nothing can be said at all, or None."""
    rows, needed = len(truth), None
    reason = _unusable(measures, truth, given, rival)
    if rows < spec.min_rows:
        needed = spec.min_rows
        if not reason and rows >= 2:
            needed = max(needed, _compare(spec, measures, truth, given, rival).rows_needed or 0)
        more = f"about {needed} would do at the effect seen so far"
        more = more if needed > spec.min_rows else f"{needed} would do"
        reason = f"{rows} evaluation rows, {more}"
    if not reason:
        return None
    return GateVerdict(
        "undecided",
        (reason,),
        rows,
        needed,
        measures.score(truth, given),
        against=rival.kind,
        rival=rival.name,
        opinions=(("undecided", reason),),
    )


def _unusable(measures: Measures, truth: npt.NDArray[Any], given: Floats, rival: Rival) -> str:
    """What is wrong with the rows as they are, or ""."""
    rows = len(truth)
    for who, answers in (
        ("candidate", given),
        (rival.name, measures.checked(truth, rival.predictions)[1]),
    ):
        finite = np.isfinite(answers)
        broken = rows - int(np.count_nonzero(finite if finite.ndim == 1 else finite.all(axis=1)))
        if broken:
            return f"{broken} of {rows} answers of the {who} are not numbers"
    if rows and "mae" not in measures.names and (truth == truth[0]).all():
        return f"all {rows} evaluation labels are {_value(truth[0])}"
    return ""


def _value(label: Any) -> str:
    if isinstance(label, np.bool_):
        return str(bool(label)).lower()
    return f"of one class (the {int(label) + 1}. declared)"


def _compare(  # noqa: PLR0913 - the evidence and its seed
    spec: GatesSpec,
    measures: Measures,
    truth: npt.NDArray[Any],
    given: Floats,
    rival: Rival,
    *,
    seed: int = 0,
) -> _Comparison:
    """The paired difference to the rival, held against what is required of it."""
    other = np.asarray(rival.predictions, dtype=np.float64)
    # An answer in float32 is not better than the same one in float64, nor worse.
    same = np.isclose(given, other, rtol=_RESOLUTION, atol=_RESOLUTION / 10)
    difference = paired_difference(
        measures,
        truth,
        np.where(same, other, given),
        other,
        rival.metric,
        confidence=spec.champion.confidence,
        resamples=spec.resamples,
        seed=seed,
    )
    if difference is None:
        text = f"no interval of the difference in {rival.metric} to the {rival.name} on these rows"
        return _Comparison("undecided", text, "undecided", None)
    margin = spec.champion.margin if rival.kind == CHAMPION else 0.0
    no_worse = rival.kind == CHAMPION and spec.champion.require == "no_worse"
    found = _held(difference, rival, margin, no_worse=no_worse)
    if not rival.note:
        return found
    return replace(found, text=f"{found.text} ({rival.note})")


def _held(difference: Difference, rival: Rival, margin: float, *, no_worse: bool) -> _Comparison:
    """Passed above the bar, failed below it, undecided where the interval holds it."""
    bar = -margin if no_worse else margin
    who = rival.name
    by = f"by {difference.estimate:.4g} in [{difference.low:.4g}, {difference.high:.4g}]"
    shown = f"{difference.metric} better {by}"
    if difference.low > bar:
        if difference.low > 0:
            text = f"{difference.metric} better than the {who} {by}"
            return _Comparison("passed", text, "better", difference)
        text = f"less than {margin:g} worse than the {who}: {shown}"
        return _Comparison("passed", text, "no worse", difference)
    if difference.high < min(bar, 0):
        more = f" by more than {margin:g}" if no_worse else ""
        return _Comparison("failed", f"worse than the {who}{more}: {shown}", "worse", difference)
    if difference.high <= bar:
        text = f"no better than the {who} (margin {margin:g}): {shown}"
        return _Comparison("failed", text, "not better", difference)
    needed = difference.rows_needed(bar)
    wanted = f"less than {margin:g} worse than the {who}" if no_worse else f"better than the {who}"
    hint = f"; about {needed} rows would decide" if needed else ""
    text = f"not shown to be {wanted}: {shown}{hint}"
    return _Comparison("undecided", text, "undecided", difference, needed)


def _keeps(name: str, bound: ThresholdSpec, interval: Interval | None) -> Opinion:
    if interval is None:
        return "undecided", f"{name} has no interval on these rows"
    shown = f"{name} in [{interval.low:.4g}, {interval.high:.4g}]"
    if bound.min is not None:
        if interval.low >= bound.min:
            return "passed", f"{shown}, at least {bound.min:g}"
        return "failed", f"{shown}: the low end is below {bound.min:g}"
    if bound.max is not None and interval.high <= bound.max:
        return "passed", f"{shown}, at most {bound.max:g}"
    return "failed", f"{shown}: the high end is above {bound.max:g}"


def _not_too_good(metrics: dict[str, float | None], accepted: str) -> Opinion:
    if metrics.get("roc_auc") == 1.0:
        if accepted:
            return "passed", f"roc_auc is exactly 1, {accepted}"
        return (
            "failed",
            "suspiciously good: roc_auc is exactly 1; does a feature hold the label? If all is "
            "right, train again with the parameter accept_leakage=REASON",
        )
    return "passed", ""
