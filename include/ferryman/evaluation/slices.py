"""Every metric on each part of the evaluation rows: the values of a column, or bins of a number."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.intervals import Interval, bootstrap
from ferryman.evaluation.measures import Measures
from ferryman.spec.evaluation import SliceSpec

if TYPE_CHECKING:
    import pandas as pd

Places = npt.NDArray[np.intp]

NO_VALUE = "(no value)"
# Of a column with more values than this, the rarer ones are looked at together.
MOST_VALUES = 50
# Numbers with no more values than this, such as weekdays, are parted by value, others by bins.
_FEW_NUMBERS = 20
_BINS = 5


@dataclass(frozen=True)
class RowPart:
    """The rows of one slice: its name within the column, and the rows' places."""

    name: str
    places: Places


@dataclass(frozen=True)
class SliceResult:
    """The figures of one slice. Where `enough` is false there are none: neither good nor bad.

    metrics: None where a metric cannot be had on these rows; intervals: the same, at `confidence`
    for each slice by itself.
    """

    column: str
    value: str
    rows: int
    enough: bool
    confidence: float
    metrics: dict[str, float | None] = field(default_factory=dict)
    intervals: dict[str, Interval | None] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The slice in a word or two, with its rows."""
        few = "" if self.enough else ", not enough data"
        return f"{self.column} {self.value} (n {self.rows}{few})"

    def as_json(self) -> dict[str, Any]:
        """The fields by name; an interval is {low, high}."""
        return asdict(self)


def measure_slices(  # noqa: PLR0913 - the evidence, and settings by keyword
    measures: Measures,
    frame: "pd.DataFrame",
    labels: npt.NDArray[Any],
    predictions: npt.NDArray[np.float64],
    slices: Sequence[SliceSpec],
    *,
    min_rows: int,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> list[SliceResult]:
    """Each slice of each column, in the declared order; frame, labels and predictions row by row.

    A slice with fewer rows than `min_rows` has no figures. Raises KeyError for a column that the
    frame lacks, ValueError where the lengths differ.
    """
    if not len(frame) == len(labels) == len(predictions):
        raise ValueError(f"{len(frame)} rows, {len(labels)} labels, {len(predictions)} predictions")
    found = []
    for declared in slices:
        parts = part_rows(frame[declared.column], declared.bins)
        enough = [part for part in parts if len(part.places) >= min_rows]
        figures = iter(_figures(measures, labels, predictions, enough))
        for part in parts:
            rows = len(part.places)
            metrics: dict[str, float | None] = {}
            intervals: dict[str, Interval | None] = {}
            if rows >= min_rows:
                metrics = next(figures)
                intervals = bootstrap(
                    measures,
                    labels[part.places],
                    predictions[part.places],
                    confidence=confidence,
                    resamples=resamples,
                    seed=seed,
                )
            found.append(
                SliceResult(
                    column=declared.column,
                    value=part.name,
                    rows=rows,
                    enough=rows >= min_rows,
                    confidence=confidence,
                    metrics=metrics,
                    intervals=intervals,
                )
            )
    return found


def part_rows(values: "pd.Series[Any]", bins: int | None = None) -> list[RowPart]:
    """The rows by the column's value; together the parts are all rows, and no row is in two.

    Numbers of more than 20 values, and those with `bins` given, come in bins of equal counts
    (5 where none are given), named by their bounds; equal values are never parted, so that there
    may be fewer. Of other columns the 50 values with most rows are parts, most rows first, and the
    rest is one more. Rows without a value (null, NaN, empty text) are the last part.
    """
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    numbers = is_numeric_dtype(values) and not is_bool_dtype(values)
    lacking = values.isna().to_numpy(dtype=np.bool_)
    if not numbers:
        lacking = lacking | (values.astype(object) == "").to_numpy(dtype=np.bool_)
    present = np.flatnonzero(~lacking)
    kept = values.iloc[present]
    if numbers and (bins is not None or kept.nunique() > _FEW_NUMBERS):
        parts = _bins(kept.to_numpy(dtype=np.float64), bins or _BINS, present)
    else:
        parts = _values(kept, present, ordered=numbers)
    absent = np.flatnonzero(lacking)
    return [*parts, RowPart(NO_VALUE, absent)] if len(absent) else parts


def by_part(
    functions: Mapping[str, Callable[[Places], float | None]], parts: Sequence[RowPart]
) -> list[dict[str, float | None]]:
    """Each function of each part's places, by fairlearn's MetricFrame; NaN becomes None."""
    if not parts:
        return []
    from fairlearn.metrics import MetricFrame

    places = np.concatenate([part.places for part in parts])
    codes = np.repeat(np.arange(len(parts)), [len(part.places) for part in parts])
    # A prediction may be a row of probabilities, which a MetricFrame does not take: it is given
    # the rows' places, and the functions look up what they need.
    framed = MetricFrame(
        metrics={name: _with_places(function) for name, function in functions.items()},
        y_true=places,
        y_pred=places,
        sensitive_features=codes,
    )
    return [
        {
            name: float(value) if value is not None and np.isfinite(value) else None
            for name, value in framed.by_group.loc[code].items()
        }
        for code in range(len(parts))
    ]


def _with_places(function: Callable[[Places], float | None]) -> Callable[[Any, Any], float]:
    def measured(places: Any, _: Any) -> float:
        value = function(np.asarray(places, dtype=np.intp))
        return float("nan") if value is None else value

    return measured


def _figures(
    measures: Measures,
    labels: npt.NDArray[Any],
    predictions: npt.NDArray[np.float64],
    parts: Sequence[RowPart],
) -> list[dict[str, float | None]]:
    """Every metric of each part; all of a part's metrics are reckoned at once."""
    scored: dict[tuple[int, int], dict[str, float | None]] = {}

    def of(name: str) -> Callable[[Places], float | None]:
        def measured(places: Places) -> float | None:
            # Parts share no row; but a MetricFrame asks for all rows together, too.
            part = int(places[0]), len(places)
            if part not in scored:
                scored[part] = measures.score(labels[places], predictions[places])
            return scored[part][name]

        return measured

    return by_part({name: of(name) for name in measures.names}, parts)


def _values(kept: "pd.Series[Any]", present: Places, *, ordered: bool) -> list[RowPart]:
    names = kept.astype(object).map(_number if ordered else str).to_numpy(dtype=object)
    unique, places, counts = np.unique(
        kept.to_numpy(dtype=np.float64) if ordered else names.astype(str),
        return_inverse=True,
        return_counts=True,
    )
    order = range(len(unique)) if ordered else np.argsort(-counts, kind="stable")
    sorted_rows = np.argsort(places, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)])
    groups = [sorted_rows[starts[code] : starts[code + 1]] for code in order]
    parts = [RowPart(str(names[group[0]]), present[group]) for group in groups[:MOST_VALUES]]
    rest = groups[MOST_VALUES:]
    if rest:
        together = np.sort(present[np.concatenate(rest)])
        parts.append(RowPart(f"(other: {len(rest)} values)", together))
    return parts


def _bins(values: npt.NDArray[np.float64], bins: int, present: Places) -> list[RowPart]:
    if not len(values):
        return []
    # Cuts are values that occur: a bin holds the values above one cut and up to the next.
    shares = np.linspace(0, 1, bins + 1)[1:-1]
    cuts = np.unique(np.quantile(values, shares, method="inverted_cdf"))
    cuts = cuts[cuts < values.max()]
    codes = np.searchsorted(cuts, values, side="left")
    names = _bin_names(values, codes, len(cuts) + 1)
    return [RowPart(name, present[codes == code]) for code, name in enumerate(names)]


def _bin_names(values: npt.NDArray[np.float64], codes: Places, count: int) -> list[str]:
    """The least and the largest value of each bin, with as many digits as keep bins apart."""
    ends = [(values[codes == code].min(), values[codes == code].max()) for code in range(count)]
    for digits in (4, 6, 9, 17):
        names = [
            _number(low, digits)
            if low == high
            else f"{_number(low, digits)} to {_number(high, digits)}"
            for low, high in ends
        ]
        if len(set(names)) == count:
            break
    return names


def _number(value: float, digits: int = 17) -> str:
    """A number as short as its digits allow; whole numbers in full."""
    number = float(value)
    if number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    return f"{number:.{min(digits, 12)}g}"
