"""The parts of a column in served rows, as its evaluation parted them.

A slice of a number is a bin, and bins follow the rows that they are made of. So that the slices of
every night are those of the champion's evaluation, its bins and values are taken where it has any.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.slices import NO_VALUE, Places, RowPart, part_rows
from ferryman.spec.evaluation import SliceSpec

if TYPE_CHECKING:
    import pandas as pd

NEW_VALUES = "(not in its evaluation)"


@dataclass(frozen=True)
class SlicePart:
    """A slice of a column: its name, and the places of its rows now and in the evaluation."""

    column: str
    name: str
    now: Places
    before: Places


def slice_parts(
    declared: SliceSpec,
    now: "pd.Series[float] | pd.Series[str]",
    before: "pd.Series[float] | pd.Series[str] | None",
) -> list[SlicePart]:
    """The parts of a column's rows `now`; together they are all rows, and no row is in two.

    Without an evaluation, or where it had no rows, as evaluation.slices.part_rows makes them.
    """
    nothing = np.zeros(0, dtype=np.intp)
    column, bins = declared.column, declared.bins
    numbers = now.dtype.kind == "f"
    if before is None or not len(before) or (before.dtype.kind == "f") != numbers:
        return [SlicePart(column, part.name, part.places, nothing) for part in part_rows(now, bins)]
    parts = part_rows(before, bins)
    present = [part for part in parts if part.name != NO_VALUE]
    lacking = now.isna().to_numpy() if numbers else (now == "").to_numpy()
    codes = _codes(now, before, present)
    codes[lacking] = -2
    found = [
        SlicePart(column, part.name, np.flatnonzero(codes == code), part.places)
        for code, part in enumerate(present)
    ]
    new, absent = np.flatnonzero(codes == -1), np.flatnonzero(codes == -2)
    if len(new):
        found.append(SlicePart(column, NEW_VALUES, new, nothing))
    empty = [part.places for part in parts if part.name == NO_VALUE]
    if len(absent) or empty:
        found.append(SlicePart(column, NO_VALUE, absent, empty[0] if empty else nothing))
    return found


def _codes(
    now: "pd.Series[float] | pd.Series[str]",
    before: "pd.Series[float] | pd.Series[str]",
    parts: list[RowPart],
) -> npt.NDArray[np.int64]:
    """The number of each row's part; -1 for a value that the evaluation did not have."""
    values = before.to_numpy()
    if now.dtype.kind == "f":
        ends = [(values[part.places].min(), values[part.places].max()) for part in parts]
        if any(low < high for low, high in ends):
            # What lies beyond the evaluation's smallest and largest belongs to the outer bins.
            cuts = np.array([high for _, high in ends[:-1]], dtype=np.float64)
            return np.searchsorted(cuts, now.to_numpy(), side="left").astype(np.int64)
    place_of = {
        value: code for code, part in enumerate(parts) for value in set(values[part.places])
    }
    known = now.map(place_of).astype(np.float64)
    return known.fillna(-1).to_numpy().astype(np.int64)
