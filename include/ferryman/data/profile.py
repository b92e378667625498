"""A profile of columns: what a table looks like, in figures that drift is measured against."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow.compute as pc

from ferryman.spec.data import FeatureSpec

BINS = 10
TOP = 50


def profile_table(table: Any, columns: Mapping[str, FeatureSpec]) -> dict[str, Any]:
    """The profile of each declared column of a pyarrow Table, as JSON values.

    Numbers: {type, count, nulls, min, max, mean, std, edges, counts}; `count` is of values that are
    not null, `edges` are quantiles (at most 11, ascending, equal ones joined; a constant column has
    its value twice, an empty one none) and `counts` the values between neighbours, the last edge
    included. Categories: {type, count, nulls, top, other}; `top` holds the 50 most frequent values
    with their counts, `other` is the count of the rest.
    """
    return {
        name: _of_category(table.column(name))
        if spec.type == "category"
        else _of_number(table.column(name), spec.type)
        for name, spec in columns.items()
    }


def _of_number(column: Any, kind: str) -> dict[str, Any]:
    values = column.drop_null().to_numpy().astype(float)
    values = values[np.isfinite(values)]
    head: dict[str, Any] = {
        "type": kind,
        "count": len(values),
        "nulls": len(column) - len(values),
    }
    if not len(values):
        nothing = dict.fromkeys(("min", "max", "mean", "std"))
        return {**head, **nothing, "edges": [], "counts": []}
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)))
    if len(edges) == 1:
        edges, counts = np.repeat(edges, 2), np.array([len(values)])
    else:
        counts = np.histogram(values, edges)[0]
    return {
        **head,
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": float(values.mean()),
        "std": float(values.std()),
        "edges": [float(edge) for edge in edges],
        "counts": [int(count) for count in counts],
    }


def _of_category(column: Any) -> dict[str, Any]:
    values = column.drop_null()
    pairs = [(entry["values"], entry["counts"]) for entry in pc.value_counts(values).to_pylist()]
    pairs.sort(key=lambda pair: (-pair[1], pair[0]))
    return {
        "type": "category",
        "count": len(values),
        "nulls": len(column) - len(values),
        "top": dict(pairs[:TOP]),
        "other": sum(count for _, count in pairs[TOP:]),
    }
