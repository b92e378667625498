"""Whether a classifier can tell the newest rows from earlier ones by how columns hang together.

That finds what no column shows by itself, such as two columns whose correlation has turned. The
rows of a day are alike, so any day can be told from others to some degree: each of the earlier
days is made the newest one in turn, and what it can be told apart by is what chance does. The
classifier is that of nearest shrunken centroids (Tibshirani et al., 2002) on products of columns;
it answers only for rows that it was not made from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import special

from ferryman.monitoring.drift_scale import area_shift
from ferryman.monitoring.joint_rows import Floats, JointRows, joint_rows
from ferryman.spec.data import FeatureSpec

Places = NDArray[np.int64]
_DAY_ROWS = 800  # as many of the newest day as of others: more rows are told apart better
_FOLDS = 4
_LEAST_DAYS = 4
_ALIKE = 3.0  # times as far as days of independent rows are told apart, up to which days are such
_NORMAL_MIDDLE = 0.6745  # the median distance of a normal variate from its mean


@dataclass(frozen=True)
class JointDrift:
    """How well newest and earlier rows are told apart.

    area: under the ROC curve, out of fold, of answers that are normal; effect: on the scale of
    `drift_scale`; columns: the two that tell most; outcome: `judged`, or why it is not.
    """

    outcome: str
    area: float | None = None
    effect: float | None = None
    p_value: float | None = None
    columns: tuple[str, ...] = ()


def tell_apart(
    newest: Any, earlier: Any, columns: Mapping[str, FeatureSpec], *, min_rows: int, seed: int = 0
) -> JointDrift:
    """Tell the newest rows from those of earlier days; both tables have an event_time."""
    if min(newest.num_rows, earlier.num_rows) < min_rows:
        return JointDrift("too_few_rows" if newest.num_rows else "no_rows")
    rows, days = _drawn(newest, earlier, seed)
    count = int(days.max())
    if count < _LEAST_DAYS:
        return JointDrift("no_reference")
    made = joint_rows(rows, days, columns)
    if made is None:
        return JointDrift("constant")
    sums = _sums(made.products, days)
    own = range(1, count + 1)
    # Day 0 is the newest.
    apart = _apart(made.products, days, sums, 0, list(own))
    by_chance = [
        _apart(made.products, days, sums, day, [other for other in own if other != day])
        for day in own
    ]
    area = float(special.ndtr(apart / np.sqrt(2)))
    return JointDrift(
        "judged",
        area=area,
        effect=area_shift(area),
        p_value=_beyond(apart, by_chance, np.bincount(days), len(made.pairs)),
        columns=_telling(made, sums),
    )


def _drawn(newest: Any, earlier: Any, seed: int) -> tuple[Any, Places]:
    """A sample of both, in any order, and each row's day: 0 is the newest."""
    random = np.random.default_rng(seed)
    moments = earlier["event_time"].to_numpy(zero_copy_only=False).astype("datetime64[D]")
    _, places = np.unique(moments, return_inverse=True)
    taken, days = [], [np.zeros(min(newest.num_rows, _DAY_ROWS), dtype=np.int64)]
    for day in range(int(places.max()) + 1):
        own = np.flatnonzero(places == day)
        # A handful of rows is no day to compare with.
        if len(own) >= 4 * _FOLDS:
            taken.append(random.permutation(own)[:_DAY_ROWS])
            days.append(np.full(len(taken[-1]), len(taken), dtype=np.int64))
    picked = random.permutation(newest.num_rows)[:_DAY_ROWS]
    parts = [newest.take(pa.array(picked))]
    if taken:
        parts.append(earlier.take(pa.array(np.concatenate(taken))))
    names = [name for name in newest.schema.names if name in earlier.schema.names]
    same = [
        name for name in names if newest.schema.field(name).type == earlier.schema.field(name).type
    ]
    return pa.concat_tables([part.select(same) for part in parts]), np.concatenate(days)


def _folds(days: Places) -> Places:
    """Rows come in random order within a day, so that any pattern of folds is a random one."""
    return np.arange(len(days)) % _FOLDS


def _sums(rows: Floats, days: Places) -> tuple[Floats, Floats]:
    """Sums of rows by day and fold [days, folds, columns], and how many rows they are of."""
    count = int(days.max()) + 1
    cells = days * _FOLDS + _folds(days)
    many = np.bincount(cells, minlength=count * _FOLDS).astype(np.float64)
    chosen = np.zeros((count * _FOLDS, len(rows)))
    chosen[cells, np.arange(len(rows))] = 1
    total = chosen @ rows
    return total.reshape(count, _FOLDS, -1), many.reshape(count, _FOLDS)


def _apart(
    rows: Floats, days: Places, sums: tuple[Floats, Floats], day: int, others: list[int]
) -> float:
    """How far the classifier's answers for a day lie from those for others, out of fold.

    In standard deviations of an answer. Means are compared, not ranks: a category's indicator less
    its day's share has a place of its own on every day, by which ranks would tell any day.
    """
    total, many = sums
    folds = _folds(days)
    new, old = days == day, np.isin(days, others)
    scores = np.zeros(len(rows))
    for fold in range(_FOLDS):
        kept = [other for other in range(_FOLDS) if other != fold]
        counts = many[day, kept].sum(), many[np.ix_(others, kept)].sum()
        ours = total[day, kept].sum(axis=0) / counts[0]
        theirs = total[np.ix_(others, kept)].sum(axis=(0, 1)) / counts[1]
        # As far apart as pairs are by chance says nothing: such pairs have no weight.
        chance = np.sqrt(2 * np.log(max(2, rows.shape[1])) * (1 / counts[0] + 1 / counts[1]))
        told = np.flatnonzero(np.abs(ours - theirs) > chance)
        asked = np.flatnonzero((folds == fold) & (new | old))
        middle, weights = (ours + theirs)[told] / 2, (ours - theirs)[told]
        scores[asked] = (rows[np.ix_(asked, told)] - middle) @ weights
    groups = scores[new], scores[old]
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    spread = float(np.sqrt(squares / sum(map(len, groups))))
    return float(groups[0].mean() - groups[1].mean()) / spread if spread > 1e-12 else 0.0


def _beyond(apart: float, by_chance: list[float], rows: Places, pairs: int) -> float:
    """How often a day like the others is told apart as well as this.

    Where days differ hardly more than days of independent rows do, all folds may choose the one
    pair that differs most by chance: hence times all pairs. Otherwise the earlier days, each of
    which had the same choice, tell what chance does.
    """
    earlier = int(rows[1:].sum())
    others = np.asarray([earlier, *(earlier - rows[1:])])
    # In standard errors between independent rows.
    places = np.asarray([apart, *by_chance]) / np.sqrt(1 / rows + 1 / others)
    days = len(by_chance)
    # By the middle one of them: an odd day among the earlier ones does not make all odd.
    usual = float(np.median(np.abs(places[1:]))) / _NORMAL_MIDDLE
    beyond = float(places[0] - np.median(places[1:])) / np.sqrt(1 + 1 / days)
    if usual <= _ALIKE:
        return min(1.0, pairs * float(special.ndtr(-beyond / max(1.0, usual))))
    return float(special.stdtr(days - 1, -beyond / float(places[1:].std(ddof=1))))


def _telling(made: JointRows, sums: tuple[Floats, Floats]) -> tuple[str, ...]:
    """The two columns whose product differs most between the newest day and the others."""
    total, many = (part.sum(axis=1) for part in sums)
    theirs = total[1:].sum(axis=0) / many[1:].sum()
    return made.pairs[int(np.argmax(np.abs(total[0] / many[0] - theirs)))]
