"""The rows that formats are compared on: real ones, and copies with every kind of surprise."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ferryman.runtime.bundle import Scalar
from ferryman.spec.data import FeatureSpec

if TYPE_CHECKING:
    import pandas as pd

UNSEEN = "a value that training never saw"


def probe_rows(
    frame: "pd.DataFrame", columns: Mapping[str, FeatureSpec], *, count: int, seed: int
) -> "pd.DataFrame":
    """A sample of real rows, and copies of some with every kind of surprise, one column at a time.

    Each column that may be null is once null, each category once a value that training never saw,
    each number once beyond either end of what the frame holds; then rows with all of them null, or
    all unseen.
    """
    import pandas as pd

    generator = np.random.default_rng(seed)
    picked = generator.choice(len(frame), size=min(count, len(frame)), replace=False)
    real = frame.iloc[np.sort(picked)][list(columns)].reset_index(drop=True)
    surprises = [
        change for name, column in columns.items() for change in _surprises(name, column, frame)
    ]
    surprises.append({name: _null(column) for name, column in columns.items() if column.nullable})
    surprises.append(
        {name: UNSEEN for name, column in columns.items() if column.type == "category"}
    )
    changed = real.iloc[generator.choice(len(real), size=len(surprises))].reset_index(drop=True)
    values = {
        name: [change.get(name, old) for change, old in zip(surprises, changed[name], strict=True)]
        for name in columns
    }
    dtypes = {name: "object" if c.type == "category" else "float64" for name, c in columns.items()}
    return pd.concat([real.astype(dtypes), pd.DataFrame(values).astype(dtypes)], ignore_index=True)


def raw_row(
    rows: "pd.DataFrame", index: int, columns: Mapping[str, FeatureSpec]
) -> dict[str, Scalar]:
    """One row as a client would send it: null, text, whole numbers for integers."""
    return {
        name: _raw(rows[name].iloc[index], column.type == "category", column.type == "integer")
        for name, column in columns.items()
    }


def _surprises(name: str, column: FeatureSpec, frame: "pd.DataFrame") -> Iterator[dict[str, Any]]:
    """Changes of one column: null, unseen, beyond either end."""
    import pandas as pd

    if column.nullable:
        yield {name: _null(column)}
    if column.type == "category":
        yield {name: UNSEEN}
        return
    low, high = frame[name].min(), frame[name].max()
    if pd.notna(low):
        reach = max(abs(float(high) - float(low)), 1.0)
        yield {name: float(low) - reach}
        yield {name: float(high) + reach}


def _raw(value: Any, text: bool, whole: bool) -> Scalar:
    if text:
        return str(value) if isinstance(value, str) and value else None
    number = math.nan if value is None else float(value)
    if math.isnan(number):
        return None
    return int(number) if whole and number.is_integer() else number


def _null(column: FeatureSpec) -> Any:
    return "" if column.type == "category" else float("nan")
