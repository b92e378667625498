"""Whether two groups of rows are drawn alike: tests that know that the rows of a day are alike."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
_EXPECTED = 5  # rows that a bin must expect for a chi-square to be one
# Days count as independent rows unless they vary more than this share of days of such rows. To err
# costs more where days are many: they cost no finding to be counted as days then.
_ALIKE = {False: 0.01, True: 0.2}
MANY_DAYS = 14


def stability_index(reference: Floats, current: Floats) -> float:
    """The population stability index of two rows of counts over the same bins; 0 is no change.

    Half a row is added to each bin, so that an empty bin does not make it infinite. Source:
    Siddiqi, Credit Risk Scorecards (2006); the usual reading is 0.1 some change, 0.25 a large one.
    """
    used = (reference + current) > 0
    a, b = reference[used] + 0.5, current[used] + 0.5
    p, q = a / a.sum(), b / b.sum()
    return float(np.sum((q - p) * np.log(q / p)))


@dataclass(frozen=True)
class DaySpread:
    """How much the shares of bins vary from day to day, told from `days` days.

    leading: how many times more they do than independent rows would, in the direction in which
    they vary most; None where they vary no more than independent rows do.
    """

    days: int
    leading: float | None = None

    def for_days_of(self, ratio: float) -> "DaySpread":
        """The same of days that have so many times as many rows: what is not chance grows so."""
        if self.leading is None:
            return self
        return DaySpread(self.days, 1 + (self.leading - 1) * ratio)

    def p_value(self, statistic: float, freedom: int) -> float:
        """How often days that are drawn alike have a chi-square as large as this.

        Where rows are independent, it is what it says. Otherwise days count, not rows: all that
        exceeds chance is taken to lie in the leading direction, whose variance is known from few
        days only, so that the ratio follows an F distribution.
        """
        if self.leading is None:
            return float(special.chdtrc(freedom, statistic))
        excess = max(0.0, statistic - (freedom - 1))
        return float(special.fdtrc(1, self.days - 1, excess / self.leading))


def two_sample_p(reference: Floats, by_day: Floats, spread: DaySpread | None = None) -> float:
    """The p-value of the chi-square test that days of counts are drawn as the reference was.

    reference: [bins]; by_day: [days, bins]. Bins that expect fewer than five rows on either side
    are put together. How days vary is told by `spread`, otherwise by the days themselves.
    """
    current = by_day.sum(axis=0)
    if reference.sum() == 0 or current.sum() == 0:
        return 1.0
    table, _ = pooled_bins(reference, current)
    freedom = table.shape[1] - 1
    if freedom < 1:
        return 1.0
    return (spread or day_spread(by_day)).p_value(pearson_statistic(table), freedom)


def day_spread(by_day: Floats, *, strict: bool = False) -> DaySpread:
    """How days of counts [days, bins] vary; one day, or one bin, says nothing of it.

    With `strict` few days (below 14) are never taken for independent rows.

    The covariance of days' shares is Rao and Scott's (1981). That days vary more than independent
    rows is tested by Pearson's chi-square of the days against one another.
    """
    by_day = by_day[by_day.sum(axis=1) > 0]
    if len(by_day) < 2:
        return DaySpread(len(by_day))
    total = by_day.sum()
    enough = by_day.sum(axis=0) * by_day.sum(axis=1).min() >= _EXPECTED * total
    # Rare bins are one; what is too rare even so is left out.
    kept = by_day[:, enough]
    rest = by_day[:, ~enough].sum(axis=1)
    if rest.sum() * by_day.sum(axis=1).min() >= total:
        kept = np.column_stack([kept, rest])
    freedom, others = kept.shape[1] - 1, len(kept) - 1
    if freedom < 1 or not kept.sum(axis=1).all():
        return DaySpread(len(by_day))
    statistic = pearson_statistic(kept)
    many = len(kept) >= MANY_DAYS
    alike = special.chdtrc(freedom * others, statistic) >= _ALIKE[many]
    if alike and (many or not strict):
        return DaySpread(len(by_day))
    # Each of the other directions is taken to vary as independent rows do, by 1.
    return DaySpread(len(by_day), max(1.0, statistic / others - (freedom - 1)))


def pooled_bins(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Both rows of counts with rare bins put together, and which bin went where: [bins, groups].

    Rare are bins that expect fewer than five rows in either row of counts. All of them together
    are one bin; where even that expects less than one row, it is left out.
    """
    table = np.vstack([one, other]).astype(np.float64)
    rows = table.sum(axis=1)
    expected = rows.min() * table.sum(axis=0) / rows.sum()
    rare = expected < _EXPECTED
    groups = np.eye(len(expected))[:, ~rare]
    if expected[rare].sum() >= 1:
        groups = np.column_stack([groups, rare.astype(np.float64)])
    return table @ groups, groups


def design_effect(by_day: Floats) -> float:
    """How many times more the shares of bins vary from day to day than independent rows would.

    Never below 1, and 1 where one day or one bin is all there is.
    """
    rows = by_day.sum(axis=1)
    by_day, rows = by_day[rows > 0], rows[rows > 0]
    total = rows.sum()
    shares = by_day.sum(axis=0) / total
    by_day, shares = by_day[:, shares > 0], shares[shares > 0]
    days, bins = by_day.shape
    if days < 2 or bins < 2:
        return 1.0
    surplus = by_day - np.outer(rows, shares)
    variance = days / (days - 1) * np.sum(surplus**2, axis=0) / total**2
    # variance / (p (1 - p) / n), weighted by 1 - p
    return max(1.0, float(np.sum(variance * total / shares) / (bins - 1)))


def pearson_statistic(table: Floats) -> float:
    """Pearson's chi-square of a table of counts [groups, bins] in which no bin is empty."""
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return float(np.sum((table - expected) ** 2 / expected))


def kolmogorov_p(distance: float, rows: float, others: float) -> float:
    """The p-value of a Kolmogorov distance between two groups of independent rows.

    The limit law with Stephens' correction for small groups (1970); too large, so on the safe
    side, where rows have equal values.
    """
    root = float(np.sqrt(rows * others / (rows + others)))
    return float(special.kolmogorov((root + 0.12 + 0.11 / root) * distance))


def counts_p(one: Floats, other: Floats) -> float:
    """The p-value of the chi-square test that two rows of counts of independent rows are alike.

    Bins that expect fewer than five rows in either group are put together first.
    """
    if not (one.any() and other.any()):
        return 1.0
    table, _ = pooled_bins(one, other)
    if table.shape[1] < 2:
        return 1.0
    return float(special.chdtrc(table.shape[1] - 1, pearson_statistic(table)))


def windows_p(one: Floats, other: Floats) -> float:
    """The p-value that windows' scores [windows, scores] are drawn alike in both groups.

    Each score is compared by Welch's t test over windows, and the smallest p-value is multiplied by
    the number of scores (Bonferroni). A window counts as one observation however many rows it has,
    so that it does not matter how alike its rows are.
    """
    groups = [one[np.isfinite(one).all(axis=1)], other[np.isfinite(other).all(axis=1)]]
    sizes = [len(group) for group in groups]
    if min(sizes) < 2 or one.shape[1] == 0:
        return 1.0
    apart = np.abs(groups[0].mean(axis=0) - groups[1].mean(axis=0))
    errors = [group.var(axis=0, ddof=1) / size for group, size in zip(groups, sizes, strict=True)]
    error = errors[0] + errors[1]
    moving = apart > 1e-12
    inner = errors[0] ** 2 / (sizes[0] - 1) + errors[1] ** 2 / (sizes[1] - 1)
    freedom = np.divide(error**2, inner, out=np.full(len(error), 1.0), where=inner > 0)
    ratio = np.divide(apart, np.sqrt(error), out=np.full(len(error), np.inf), where=error > 0)
    p_values = np.where(moving, 2 * special.stdtr(freedom, -ratio), 1.0)
    return float(min(1.0, p_values.min() * len(p_values)))


def holm(p_values: Floats, rate: float) -> NDArray[np.bool_]:
    """Which of several p-values stand at a false-alarm rate over all of them (Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    bounds = rate / np.arange(len(p_values), 0, -1)
    stands = np.logical_and.accumulate(p_values[order] <= bounds)
    found = np.zeros(len(p_values), dtype=np.bool_)
    found[order] = stands
    return found
