"""Profiles a table or a Parquet file in one pass: what it looks like, in mergeable figures.

A stream's memory does not grow with its rows: numbers are counted along a ruler, categories by
their places in the file's own dictionaries.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ferryman.profiles.category_profile import CategoryCounter
from ferryman.profiles.column_profile import Profile, profile_json
from ferryman.profiles.number_profile import NumberCounter
from ferryman.spec.data import FeatureSpec

BATCH = 131_072  # rows
# Bytes of a column that are fetched at once: without it whole row groups wait in memory.
_BUFFER = 1 << 20


def profile_table(table: Any, columns: Mapping[str, FeatureSpec]) -> dict[str, Any]:
    """The profile of each declared column of a pyarrow Table, as JSON values.

    See `ferryman.profiles` for its parts: count (of values), nulls, and min, max, mean, std and
    sketch of numbers; top values, others and distinct values of categories.
    """
    return profile_json(profile_batches(table.select(list(columns)).to_batches(BATCH), columns))


def profile_file(file: Path, columns: Mapping[str, FeatureSpec]) -> dict[str, Any]:
    """The same of a Parquet file, which is streamed batch by batch."""
    words = [name for name, spec in columns.items() if spec.type == "category"]
    with pq.ParquetFile(
        file, read_dictionary=words, pre_buffer=False, buffer_size=_BUFFER
    ) as stream:
        batches = stream.iter_batches(BATCH, columns=list(columns), use_threads=False)
        return profile_json(profile_batches(batches, columns))


def profile_batches(batches: Iterable[Any], columns: Mapping[str, FeatureSpec]) -> Profile:
    """The profile of a stream of pyarrow RecordBatches that have the declared columns."""
    counters: dict[str, NumberCounter | CategoryCounter] = {
        name: CategoryCounter() if spec.type == "category" else NumberCounter(spec.type)
        for name, spec in columns.items()
    }
    for batch in batches:
        for name, counter in counters.items():
            column = batch.column(name)
            if isinstance(counter, CategoryCounter):
                _count_words(column, counter)
            else:
                _count_numbers(column, counter)
    return {name: counter.profile() for name, counter in counters.items()}


def _count_numbers(column: Any, counter: NumberCounter) -> None:
    nulls = column.null_count
    if nulls:
        column = column.drop_null()
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        column = column.cast(pa.float64())
    counter.add(column.to_numpy(zero_copy_only=False), nulls)


def _count_words(column: Any, counter: CategoryCounter) -> None:
    if not pa.types.is_dictionary(column.type):
        column = pc.cast(column, pa.string()).dictionary_encode()
    places = column.indices.drop_null() if column.null_count else column.indices
    words = column.dictionary
    counts = np.bincount(places.to_numpy(zero_copy_only=False), minlength=len(words))
    nulls = column.null_count
    if words.null_count:  # a dictionary may hold null as a word
        empty = words.is_null().to_numpy(zero_copy_only=False)
        nulls += int(counts[empty].sum())
        words, counts = words.drop_null(), counts[~empty]
    counter.add(pc.cast(words, pa.string()).to_pylist(), counts.tolist(), nulls)
