"""Profiles a table or a Parquet file in one pass, as it is stored: mergeable figures in JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ferryman.profiles.column_profile import profile_json
from ferryman.profiles.profiled_columns import profile_chunks, profile_parquet
from ferryman.spec.data import FeatureSpec


def profile_table(table: Any, columns: Mapping[str, FeatureSpec]) -> dict[str, Any]:
    """The profile of each declared column of a pyarrow Table, as JSON values.

    See `ferryman.profiles` for its parts: count (of values), nulls, and min, max, mean, std and
    sketch of numbers; top values, others and distinct values of categories.
    """
    return profile_json(profile_chunks(columns, lambda name: table[name].chunks))


def profile_file(file: Path, columns: Mapping[str, FeatureSpec]) -> dict[str, Any]:
    """The same of a Parquet file, which is streamed column by column."""
    return profile_json(profile_parquet(file, columns))
