"""What `monitor` says of the groups of `gates.fairness`: their figures and the gap between them."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.fairness import FairnessResult, GroupFigure, measure_fairness
from ferryman.evaluation.measures import make_measures
from ferryman.monitoring.groups import GroupFinding
from ferryman.spec.evaluation import FairnessGateSpec
from ferryman.steps.contract import StepContext

if TYPE_CHECKING:
    import pandas as pd

GAP = "(gap)"  # what stands for a group where the gap between groups is told


def group_findings(  # noqa: PLR0913 - a gate, and the answers by column
    context: StepContext,
    gate: FairnessGateSpec,
    frame: "pd.DataFrame",
    labels: npt.NDArray[Any],
    scores: npt.NDArray[np.float64],
    *,
    days: npt.NDArray[np.int64],
) -> list[GroupFinding]:
    """The groups of a column, and the gap between them: worse where it is shown to be too large.

    frame, labels, scores and days (of the event): the labelled answers, row by row.
    """
    column, metric = gate.column, gate.metric
    if column not in frame.columns:
        text = f"{column} is not logged, so its groups cannot be compared"
        return [_unknown(gate, 0, text)]
    gates, declared, train = context.spec.gates, context.spec.monitor.groups, context.spec.train
    least = declared.min_labels or context.spec.evaluation.min_rows
    if not len(labels):
        return [_unknown(gate, 0, f"groups of {column}: not enough labels (n=0 < {least})")]
    found = measure_fairness(
        make_measures(train.task, train.classes),
        frame,
        labels,
        scores,
        column=column,
        metric=metric,
        min_rows=least,
        # One family: the declared rate is of all these gaps together.
        confidence=1 - declared.significance / len(gates.fairness),
        resamples=gates.resamples,
        seed=train.seed,
        days=days,
    )
    return [
        *(_group(found, group, least) for group in found.groups),
        _gap(found, gate, len(labels)),
    ]


def _group(found: FairnessResult, group: GroupFigure, least: int) -> GroupFinding:
    from scipy.stats import t

    named, reach = f"{found.column} {group.group}", None
    if group.figure is not None and group.error is not None:
        reach = float(t.ppf(0.975, max(1.0, group.freedom or 1.0))) * group.error
        text = f"{named}: {found.metric} {group.figure:.4f} on {group.rows} labels"
    else:
        few = group.rows < least
        why = f" (n={group.rows} < {least})" if few else f" ({found.metric} cannot be had)"
        text = f"{named}: not enough data{why}"
    known = group.figure is not None and reach is not None
    return GroupFinding(
        column=found.column,
        value=group.group,
        n=group.rows,
        labelled=group.rows,
        metric=found.metric,
        figure=group.figure,
        low=group.figure - reach if group.figure is not None and reach is not None else None,
        high=group.figure + reach if group.figure is not None and reach is not None else None,
        outcome="ok" if known else "not_enough_labels",
        text=text,
    )


def _gap(found: FairnessResult, gate: FairnessGateSpec, labelled: int) -> GroupFinding:
    told = f"gap of {gate.metric} between groups of {gate.column}: {found.text}"
    interval = found.interval
    if found.gap is None or interval is None:
        return _unknown(gate, labelled, told)
    broken = interval.low > gate.max_gap
    return GroupFinding(
        column=gate.column,
        value=GAP,
        n=labelled,
        labelled=labelled,
        metric=gate.metric,
        figure=found.gap,
        low=interval.low,
        high=interval.high,
        outcome="worse" if broken else "ok",
        text=f"{told}: {'more' if broken else 'not shown to be more'} than {gate.max_gap:g}",
    )


def _unknown(gate: FairnessGateSpec, labelled: int, text: str) -> GroupFinding:
    return GroupFinding(
        column=gate.column,
        value=GAP,
        n=labelled,
        labelled=labelled,
        metric=gate.metric,
        figure=None,
        low=None,
        high=None,
        outcome="not_enough_labels",
        text=text,
    )
