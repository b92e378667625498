"""What stands in each logged column of late, beside what stood in it when the model was trained."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ferryman.spec.data import FeatureSpec

_SHOWN = 10


@dataclass(frozen=True)
class InputStatistics:
    """One column of the logged answers.

    nulls, nulls_before: share of rows without a value, now and in training; low, high: smallest and
    largest number (None for categories); low_before, high_before: in training; outside: share of
    the values beyond these; unseen: up to ten categories that training did not have, those with
    most rows first, and unseen_share of all rows (None where training's rarest are not on record).
    None stands for what cannot be told: no rows, or no profile of the training data.
    """

    column: str
    rows: int
    nulls: float | None
    nulls_before: float | None
    low: float | None = None
    high: float | None = None
    low_before: float | None = None
    high_before: float | None = None
    outside: float | None = None
    unseen: list[str] = field(default_factory=list)
    unseen_share: float | None = None

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        return asdict(self)


def input_statistics(
    answers: Any, columns: Mapping[str, FeatureSpec], reference: Mapping[str, Any]
) -> list[InputStatistics]:
    """Each of the columns that a table of answers has; `reference` is a bundle's reference.json."""
    return [
        _of_column(name, kind, answers[name], reference.get(name))
        for name, kind in columns.items()
        if name in answers.column_names
    ]


def logged_columns(declared: Collection[str], logged: Collection[str] | None) -> list[str]:
    """The declared columns that a version logs; None for all."""
    return [name for name in declared if logged is None or name in logged]


def _of_column(
    name: str, kind: FeatureSpec, values: Any, profile: Mapping[str, Any] | None
) -> InputStatistics:
    rows = len(values)
    words = kind.type == "category"
    fits = profile is not None and (profile.get("type") == "category") == words
    before = profile if profile is not None and fits else {}
    known = before.get("count", 0) + before.get("nulls", 0)
    empty = float(before["nulls"] + (before["top"].get("", 0) if words else 0)) if known else 0.0
    nulls_before = empty / known if known else None
    if words:
        return _categories(name, values, before, nulls_before)
    numbers = pc.cast(values, pa.float64())
    present = numbers.filter(pc.fill_null(pc.is_finite(numbers), False))
    bounds = pc.min_max(present).as_py()
    low, high = before.get("min"), before.get("max")
    outside = None
    if len(present) and low is not None and high is not None:
        beyond = pc.or_(pc.less(present, float(low)), pc.greater(present, float(high)))
        outside = pc.sum(beyond).as_py() / len(present)
    return InputStatistics(
        column=name,
        rows=rows,
        nulls=1 - len(present) / rows if rows else None,
        nulls_before=nulls_before,
        low=bounds["min"],
        high=bounds["max"],
        low_before=None if low is None else float(low),
        high_before=None if high is None else float(high),
        outside=outside,
    )


def _categories(
    name: str, values: Any, before: Mapping[str, Any], nulls_before: float | None
) -> InputStatistics:
    texts = pc.cast(values, pa.string())
    present = texts.filter(pc.fill_null(pc.not_equal(texts, ""), False))
    rows = len(values)
    counts = {one["values"]: one["counts"] for one in pc.value_counts(present).to_pylist()}
    unseen: dict[str, int] = {}
    # A profile that folds rare values into `other` cannot say which of them were seen.
    told = bool(before) and not before["other"]
    if told:
        unseen = {value: count for value, count in counts.items() if value not in before["top"]}
    return InputStatistics(
        column=name,
        rows=rows,
        nulls=1 - len(present) / rows if rows else None,
        nulls_before=nulls_before,
        unseen=sorted(unseen, key=lambda value: (-unseen[value], value))[:_SHOWN],
        unseen_share=sum(unseen.values()) / rows if told and rows else None,
    )
