"""The gate's rule: whether the evidence lets a candidate serve. Pure: arrays in, verdict out.

A threshold must be kept by the worse end of the metric's interval. Against a champion, the lower
bound of the paired improvement must exceed the margin. Without a champion, the candidate must beat
the best constant answer (the evaluation rows' own base rate) in log loss, with its interval.
What cannot be known is "undecided", and undecided never promotes.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.intervals import Difference, Interval, bootstrap, paired_difference
from ferryman.evaluation.metrics import Bools, Floats, checked, score_binary
from ferryman.spec.evaluation import GatesSpec, ThresholdSpec

Outcome = Literal["passed", "failed", "undecided"]
BASE_RATE = "base rate"
CHAMPION = "champion"


@dataclass(frozen=True)
class GateVerdict:
    """What the gate says, and every figure that it rests on.

    `rows_needed` is the number of evaluation rows that would probably decide, where that is known.
    `against` is what the candidate was compared with: "champion", "base rate", or "" for nothing.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    rows: int
    rows_needed: int | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)
    intervals: dict[str, Interval | None] = field(default_factory=dict)
    against: str = ""
    difference: Difference | None = None

    @property
    def text(self) -> str:
        """The verdict as one line."""
        return f"{self.outcome}: {'; '.join(self.reasons)}"


def judge(  # noqa: PLR0913 - the evidence, and who vouches for it
    spec: GatesSpec,
    labels: npt.ArrayLike,
    candidate: npt.ArrayLike,
    champion: npt.ArrayLike | None = None,
    *,
    seed: int = 0,
    leakage_accepted: str = "",
) -> GateVerdict:
    """Judge a candidate's scores, with the champion's scores of the same rows where there is one.

    All arrays have the shape [rows]; labels are bool, scores probabilities. `leakage_accepted` says
    who took responsibility for a result that is too good to be true, and why.
    """
    truth, given = checked(labels, candidate)
    rows = len(truth)
    doubt = _doubt(spec, truth, given, champion)
    if doubt is not None:
        return doubt
    metrics = score_binary(truth, given)
    names = list(spec.thresholds)
    intervals = bootstrap(
        truth,
        given,
        metrics=names,
        confidence=spec.champion.confidence,
        resamples=spec.resamples,
        seed=seed,
    )
    against, difference = _compare(spec, truth, given, champion, seed)
    opinions = [_keeps(name, spec.thresholds[name], intervals[name]) for name in names]
    opinions += [_not_too_good(metrics, leakage_accepted), _improves(spec, against, difference)]
    outcome: Outcome = "passed"
    for level in ("failed", "undecided"):
        if any(opinion[0] == level for opinion in opinions):
            outcome = level
            break
    reasons = tuple(text for level, text in opinions if text and level == outcome)
    margin = spec.champion.margin if against == CHAMPION else 0.0
    needed = difference.rows_needed(margin) if difference and outcome != "passed" else None
    return GateVerdict(outcome, reasons, rows, needed, metrics, intervals, against, difference)


def _doubt(
    spec: GatesSpec, truth: Bools, given: Floats, champion: npt.ArrayLike | None
) -> GateVerdict | None:
    """Why nothing can be said at all, or None."""
    rows = len(truth)
    if rows < spec.min_rows:
        reason = f"{rows} evaluation rows, {spec.min_rows} would do"
        needed = _rows_for(spec, truth, given, champion)
        if needed > spec.min_rows:
            reason = f"{rows} evaluation rows, about {needed} would do at the effect seen so far"
        return GateVerdict("undecided", (reason,), rows, needed, score_binary(truth, given))
    broken = int(np.count_nonzero(~np.isfinite(given)))
    if broken:
        reason = f"{broken} of {rows} scores of the candidate are not numbers"
        return GateVerdict("undecided", (reason,), rows)
    if champion is not None:
        broken = int(np.count_nonzero(~np.isfinite(checked(truth, champion)[1])))
        if broken:
            reason = f"{broken} of {rows} scores of the champion are not numbers"
            return GateVerdict("undecided", (reason,), rows)
    if truth.all() or not truth.any():
        only = "true" if truth[0] else "false"
        reason = f"all {rows} evaluation labels are {only}"
        return GateVerdict("undecided", (reason,), rows, metrics=score_binary(truth, given))
    return None


def _rows_for(spec: GatesSpec, truth: Bools, given: Floats, champion: npt.ArrayLike | None) -> int:
    """Rows that would do: at least the declared ones, more where the effect is small."""
    if len(truth) < 2 or truth.all() or not truth.any():
        return spec.min_rows
    against, difference = _compare(spec, truth, given, champion, 0)
    margin = spec.champion.margin if against == CHAMPION else 0.0
    needed = difference.rows_needed(margin) if difference else None
    return max(spec.min_rows, needed or 0)


def _compare(
    spec: GatesSpec, truth: Bools, given: Floats, champion: npt.ArrayLike | None, seed: int
) -> tuple[str, Difference | None]:
    """The paired difference to the champion, or to the constant base rate where there is none."""
    if champion is None:
        against, other, metric = BASE_RATE, np.full(len(truth), truth.mean()), "log_loss"
    else:
        against, other, metric = CHAMPION, checked(truth, champion)[1], spec.champion.metric
    difference = paired_difference(
        truth,
        given,
        other,
        metric,
        confidence=spec.champion.confidence,
        resamples=spec.resamples,
        seed=seed,
    )
    return against, difference


def _keeps(name: str, bound: ThresholdSpec, interval: Interval | None) -> tuple[Outcome, str]:
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


def _not_too_good(metrics: dict[str, float | None], accepted: str) -> tuple[Outcome, str]:
    if metrics["roc_auc"] == 1.0:
        if accepted:
            return "passed", f"roc_auc is exactly 1, {accepted}"
        return (
            "failed",
            "suspiciously good: roc_auc is exactly 1; does a feature hold the label? If all is "
            "right, train again with the parameter accept_leakage=REASON",
        )
    return "passed", ""


def _improves(spec: GatesSpec, against: str, difference: Difference | None) -> tuple[Outcome, str]:
    if difference is None:
        return "undecided", f"no interval of the difference to the {against} on these rows"
    margin = spec.champion.margin if against == CHAMPION else 0.0
    shown = (
        f"{difference.metric} better than the {against} by {difference.estimate:.4g} "
        f"in [{difference.low:.4g}, {difference.high:.4g}]"
    )
    if difference.low > margin:
        return "passed", shown
    if difference.high < 0:
        return "failed", f"worse than the {against}: {shown}"
    if difference.high <= margin:
        return "failed", f"no better than the {against} (margin {margin:g}): {shown}"
    needed = difference.rows_needed(margin)
    hint = f"; about {needed} rows would show it" if needed else ""
    return "failed", f"not shown to be better than the {against}: {shown}{hint}"
