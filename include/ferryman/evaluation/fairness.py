"""How far the groups of a column lie apart: rates by fairlearn, and an interval of the largest gap.

The largest of many gaps is large by chance alone. The interval therefore holds for all pairs of
groups at once: it is as wide as the largest of the pairs' standardised deviations is in 95 of 100
resamples (the bootstrap form of Tukey's range test; Romano and Wolf 2005, "Exact and Approximate
Stepdown Methods for Multiple Hypothesis Testing").
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.fairness_days import day_errors
from ferryman.evaluation.intervals import Interval, draw
from ferryman.evaluation.measures import Measures
from ferryman.evaluation.metrics import THRESHOLD, Floats
from ferryman.evaluation.slices import Places, RowPart, by_part, part_rows

if TYPE_CHECKING:
    import pandas as pd

RATES = ("selection_rate", "false_positive_rate", "false_negative_rate")
# Metrics without a bound of 1, and those in the label's unit.
_UNBOUNDED = frozenset({"log_loss", "brier", "mae", "rmse", "r2", "mape"})
# A figure needs to exist in nearly every resample.
_LEAST_DEFINED = 0.95


@dataclass(frozen=True)
class GroupFigure:
    """The figure of one group. `rows` are those it is a share of: of a false positive rate the
    rows that are negative. Without `enough` of them, or where it cannot be had, it is None.
    freedom: the degrees of freedom of its error.
    """

    group: str
    rows: int
    enough: bool
    figure: float | None = None
    error: float | None = None
    freedom: float | None = None


@dataclass(frozen=True)
class FairnessResult:
    """The figures of the groups and the largest gap between two of them.

    gap: largest observed difference, of `highest` over `lowest`; None where fewer than two groups
    have a figure. interval: of the largest true gap, at `confidence` over all pairs at once. by:
    whether rows or days are taken to be drawn by chance.
    """

    column: str
    metric: str
    groups: tuple[GroupFigure, ...]
    confidence: float
    gap: float | None = None
    interval: Interval | None = None
    highest: str = ""
    lowest: str = ""
    by: Literal["rows", "days"] = "rows"

    @property
    def text(self) -> str:
        """The gap, its interval, the two groups, and how many had not enough data."""
        few = sum(not group.enough for group in self.groups)
        left_out = f"; not enough data on {few} groups" if few else ""
        if self.gap is None or self.interval is None:
            return f"fewer than two groups have a figure{left_out}"
        figures = {group.group: group for group in self.groups}
        named = " and ".join(
            f"{name} ({figures[name].figure:.4g}, n {figures[name].rows})"
            for name in (self.highest, self.lowest)
        )
        by_days = ", by days" if self.by == "days" else ""
        compared = sum(group.figure is not None for group in self.groups)
        return (
            f"{self.gap:.4g} in [{self.interval.low:.4g}, {self.interval.high:.4g}] between "
            f"{named}, of {compared} groups{by_days}{left_out}"
        )

    def as_json(self) -> dict[str, Any]:
        """The fields by name; an interval is {low, high}."""
        return asdict(self)


def measure_fairness(  # noqa: PLR0913 - the evidence, and settings by keyword
    measures: Measures,
    frame: "pd.DataFrame",
    labels: npt.NDArray[Any],
    predictions: Floats,
    *,
    column: str,
    metric: str,
    min_rows: int,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    days: npt.NDArray[np.int64] | None = None,
) -> FairnessResult:
    """Compare the groups of a column, parted as in `part_rows`, in a metric or one of RATES.

    Rates are those of a binary task, at the threshold of its answers: of all rows, of the negative
    and of the positive ones. Resamples are drawn within each group; with `days`, the day of each
    row, days are the unit where a group has four of them (see fairness_days). Raises KeyError for a
    column that the frame lacks, ValueError for rates of another task or a metric that it has not.
    """
    parts = part_rows(frame[column])
    if metric in RATES:
        observed, groups = _rates(labels, predictions, parts, metric)
    elif metric in measures.names:
        observed, groups = _metrics(measures, labels, predictions, parts, metric)
    else:
        raise ValueError(f"{metric} is no metric of this task")
    figures, drawn, compared = [], [], []
    for place, (part, value, group) in enumerate(zip(parts, observed, groups, strict=True)):
        rows = len(group.places)
        enough = rows >= min_rows
        draws = None
        if enough and value is not None:
            draws = _deviations(group.resampled, rows, resamples, _group_seed(seed, place))
        if draws is None:
            figures.append(GroupFigure(part.name, rows, enough))
            continue
        # Where no row differs no resample does: what one more row could change is the least error.
        least = 0.0 if metric in _UNBOUNDED else 1 / rows
        error = max(float(np.nanstd(draws)), least)
        figures.append(GroupFigure(part.name, rows, enough, value, error, rows - 1))
        drawn.append(draws)
        compared.append(group)
    known = [figure for figure in figures if figure.figure is not None]
    chance = _by_row(known, drawn)
    by_day = None
    if days is not None and compared:
        by_row = np.array([figure.error for figure in known], dtype=np.float64)
        by_day = day_errors([(one.resampled, days[one.places]) for one in compared], by_row)
    if by_day is None:
        return _compared(column, metric, figures, chance, confidence)
    told = iter(zip(by_day.errors, by_day.freedom, strict=True))
    figures = [
        figure if figure.figure is None else _with_error(figure, *next(told)) for figure in figures
    ]
    chance = _Chance(by_day.between, by_day.freedom, by_day.draws(resamples, seed))
    found = _compared(column, metric, figures, chance, confidence)
    return replace(found, by="days")


def _with_error(figure: GroupFigure, error: float, freedom: float) -> GroupFigure:
    return replace(figure, error=float(error), freedom=float(freedom))


@dataclass(frozen=True)
class _Group:
    """The rows that a group's figure rests on, and the figure in resamples of them."""

    places: Places
    resampled: Callable[[Floats], Floats]


@dataclass(frozen=True)
class _Chance:
    """What chance does to the known groups.

    between: the error of differences, by places of pairs; freedom: degrees, [groups]; draws: how
    far figures lie from their means, [groups, resamples].
    """

    between: Callable[[Places, Places], Floats]
    freedom: Floats
    draws: Floats


def _by_row(known: Sequence[GroupFigure], drawn: Sequence[Floats]) -> _Chance:
    errors = np.array([figure.error for figure in known], dtype=np.float64)
    # Errors that few rows tell are themselves uncertain: Student's reach for the smallest group's.
    fewest = min((figure.rows for figure in known), default=2) - 1
    return _Chance(
        lambda one, other: np.asarray(np.hypot(errors[one], errors[other])),
        np.full(len(known), float(fewest)),
        np.nan_to_num(np.stack(drawn)) if drawn else np.zeros((0, 1)),
    )


def _rates(
    labels: npt.NDArray[Any], predictions: Floats, parts: Sequence[RowPart], metric: str
) -> tuple[list[float | None], list[_Group]]:
    from fairlearn.metrics import false_negative_rate, false_positive_rate, selection_rate

    if predictions.ndim != 1 or labels.dtype != np.bool_:
        raise ValueError(f"{metric} is a rate of binary answers")
    truth = labels.astype(np.int64)
    answers = (predictions >= THRESHOLD).astype(np.int64)
    rate, of_rows, hits = {
        "selection_rate": (selection_rate, np.ones(len(labels), dtype=np.bool_), answers),
        "false_positive_rate": (false_positive_rate, ~labels, answers),
        "false_negative_rate": (false_negative_rate, labels, 1 - answers),
    }[metric]
    sound = np.isfinite(predictions)

    def measured(places: Places) -> float | None:
        known = of_rows[places].any() and sound[places].all()
        return float(rate(truth[places], answers[places], pos_label=1)) if known else None

    groups = []
    for part in parts:
        own = part.places[of_rows[part.places]]
        of_group = hits[own].astype(np.float64)
        groups.append(_Group(own, _share_of(of_group)))
    return [figure[metric] for figure in by_part({metric: measured}, parts)], groups


def _share_of(hits: Floats) -> Callable[[Floats], Floats]:
    def share(counts: Floats) -> Floats:
        rows = counts.sum(axis=1)
        nothing = np.full(len(counts), np.nan)
        return np.asarray(np.divide(counts @ hits, rows, out=nothing, where=rows > 0))

    return share


def _metrics(
    measures: Measures,
    labels: npt.NDArray[Any],
    predictions: Floats,
    parts: Sequence[RowPart],
    metric: str,
) -> tuple[list[float | None], list[_Group]]:
    def measured(places: Places) -> float | None:
        return measures.score(labels[places], predictions[places])[metric]

    def resampled(places: Places) -> Callable[[Floats], Floats]:
        return lambda counts: measures.resampled(labels[places], predictions[places]).metrics(
            counts, [metric]
        )[metric]

    groups = [_Group(part.places, resampled(part.places)) for part in parts]
    return [figure[metric] for figure in by_part({metric: measured}, parts)], groups


def _deviations(
    resampled: Callable[[Floats], Floats], rows: int, resamples: int, seed: int
) -> Floats | None:
    """How far the figure lies from its mean in each resample; None where it often has none."""
    drawn = np.concatenate([resampled(counts) for counts in draw(rows, resamples, seed)])
    if np.isfinite(drawn).mean() < _LEAST_DEFINED:
        return None
    return np.asarray(drawn - np.nanmean(drawn), dtype=np.float64)


def _compared(
    column: str,
    metric: str,
    figures: Sequence[GroupFigure],
    chance: _Chance,
    confidence: float,
) -> FairnessResult:
    from scipy.stats import norm, t

    known = [figure for figure in figures if figure.figure is not None]
    if len(known) < 2:
        return FairnessResult(column, metric, tuple(figures), confidence)
    values = np.array([figure.figure for figure in known], dtype=np.float64)
    one, other = np.triu_indices(len(known), 1)
    gaps = np.abs(values[one] - values[other])
    together = chance.between(one, other)
    largest = np.zeros(chance.draws.shape[1])
    for first, second, error in zip(one, other, together, strict=True):
        if error > 0:
            apart = np.abs(chance.draws[first] - chance.draws[second])
            np.maximum(largest, apart / error, out=largest)
    normal = float(np.quantile(largest, confidence, method="weibull"))
    freedom = np.minimum(chance.freedom[one], chance.freedom[other])
    reach = t.isf(norm.sf(normal), freedom) * together
    return FairnessResult(
        column=column,
        metric=metric,
        groups=tuple(figures),
        confidence=confidence,
        gap=float(gaps.max()),
        # All pairs' intervals hold at once: so do the largest of their lower and upper ends.
        interval=Interval(max(0.0, float((gaps - reach).max())), float((gaps + reach).max())),
        highest=known[int(values.argmax())].group,
        lowest=known[int(values.argmin())].group,
    )


def _group_seed(seed: int, place: int) -> int:
    """Groups are drawn apart from one another, so that equal groups do not move together."""
    return int(np.random.SeedSequence([seed, place]).generate_state(1)[0])
