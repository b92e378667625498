"""Profiles tables, batches and Parquet files in one pass, a column at a time.

A stream's memory does not grow with its rows: numbers are counted along a ruler, categories by
their places in the file's own dictionaries. A file is read column by column, so that what was
decoded is counted while it is still in the processor's cache, and no more than one column waits.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferryman.profiles.category_profile import CategoryCounter
from ferryman.profiles.column_profile import ColumnProfile, Profile
from ferryman.profiles.number_profile import NumberCounter
from ferryman.spec.data import FeatureSpec

BATCH = 131_072  # rows
# Bytes of a column that are fetched at once: without it whole row groups wait in memory.
_BUFFER = 1 << 20

Names = Mapping[str, Collection[str]]
_NO_NAMES: Names = {}


def profile_parquet(
    source: Any,
    columns: Mapping[str, FeatureSpec],
    named: Names = _NO_NAMES,
    *,
    threads: int = 1,
) -> Profile:
    """The profile of the declared columns of a Parquet file: a path, or what opens as a file.

    `named`: categories by column whose rows are wanted by name, however rare they are. Several
    threads each need a path, as they open the file for themselves.
    """
    names = list(columns)
    if threads < 2 or not isinstance(source, Path):
        return _read_columns(source, columns, named)
    shares = [{name: columns[name] for name in names[place::threads]} for place in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(lambda share: _read_columns(source, share, named), shares)
        found = {name: one for part in parts for name, one in part.items()}
    return {name: found[name] for name in names}


def profile_chunks(
    columns: Mapping[str, FeatureSpec],
    chunks_of: Callable[[str], Iterable[Any]],
    named: Names = _NO_NAMES,
) -> Profile:
    """The profile of each column, of which `chunks_of` gives the pyarrow Arrays by its name."""
    return {
        name: profile_column(spec, chunks_of(name), named.get(name, ()))
        for name, spec in columns.items()
    }


def profile_column(
    spec: FeatureSpec, chunks: Iterable[Any], named: Collection[str] = ()
) -> ColumnProfile:
    """The profile of one column of a declared type, from its pyarrow Arrays."""
    if spec.type == "category":
        words = CategoryCounter(named)
        for chunk in chunks:
            _count_words(chunk, words)
        return words.profile()
    numbers = NumberCounter(spec.type)
    for chunk in chunks:
        _count_numbers(chunk, numbers)
    return numbers.profile()


def _read_columns(source: Any, columns: Mapping[str, FeatureSpec], named: Names) -> Profile:
    import pyarrow.parquet as pq

    words = [name for name, spec in columns.items() if spec.type == "category"]
    with pq.ParquetFile(
        source, read_dictionary=words, pre_buffer=False, buffer_size=_BUFFER
    ) as stream:

        def chunks_of(name: str) -> Iterable[Any]:
            for batch in stream.iter_batches(BATCH, columns=[name], use_threads=False):
                yield batch.column(0)

        return profile_chunks(columns, chunks_of, named)


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
