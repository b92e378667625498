"""Profiles of logged rows, a day each: what drift is told from. Days are named 2013-02-01, UTC."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferryman.profiles.column_profile import ColumnProfile, Profile, merge_profiles
from ferryman.profiles.profiled_columns import profile_column
from ferryman.spec.data import FeatureSpec

DayProfiles = Mapping[str, Profile]
Names = Mapping[str, Collection[str]]
_NO_NAMES: Names = {}
_TEXT = FeatureSpec(type="category")


def profile_days(
    table: Any, columns: Mapping[str, FeatureSpec], named: Names = _NO_NAMES
) -> dict[str, Profile]:
    """The profile of each day of a table (which has an event_time), oldest day first.

    A column that the table lacks is all null; one that is declared a number and is text has the
    profile of text, which tells it from numbers. `named`: categories by column that are to be
    counted by name, however rare they are on a day.
    """
    if not table.num_rows:
        return {}
    moments = table["event_time"].to_numpy(zero_copy_only=False).astype("datetime64[D]")
    order = np.argsort(moments, kind="stable")
    days, starts = np.unique(moments[order], return_index=True)
    if not np.array_equal(order, np.arange(len(order))):
        table = table.take(pa.array(order))
    ends = [*starts[1:].tolist(), table.num_rows]
    return {
        str(day): _profile(table.slice(start, end - start), columns, named)
        for day, start, end in zip(days, starts.tolist(), ends, strict=True)
    }


def rows_of(profile: Profile) -> int:
    """How many rows a day has; 0 where it has no columns."""
    return max((column.rows for column in profile.values()), default=0)


def merged(days: Iterable[Profile]) -> Profile:
    """The profile of all days together, in the size in which profiles are stored."""
    return {name: column.stored for name, column in merge_profiles(list(days)).items()}


def _profile(table: Any, columns: Mapping[str, FeatureSpec], named: Names) -> Profile:
    known = table.schema.names
    nulls = pa.chunked_array([pa.nulls(table.num_rows)])
    return {
        name: _profile_column(
            spec, table[name] if name in known else nulls, named.get(name, ())
        ).stored
        for name, spec in columns.items()
    }


def _profile_column(spec: FeatureSpec, values: Any, named: Collection[str]) -> ColumnProfile:
    if spec.type == "category" or pa.types.is_null(values.type):
        text = pc.cast(values, pa.string())
        if spec.type == "category":
            return profile_column(spec, text.chunks, named)
        return profile_column(spec, pc.cast(text, pa.float64()).chunks)
    try:
        return profile_column(spec, values.chunks)
    except pa.ArrowInvalid:
        return profile_column(_TEXT, values.chunks)
