"""Profiles tables, batches and Parquet files in one pass, a column at a time.

A stream's memory does not grow with its rows: numbers are counted along a ruler, categories by
their places in the file's own dictionaries. A file is read column by column, so that what was
decoded is counted while it is still in the processor's cache, and no more than one column waits.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
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
_WORDS = 65_536  # of dictionaries that wait to be counted together

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
        words = _Words(CategoryCounter(named))
        for chunk in chunks:
            words.add(chunk)
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


@dataclass
class _Words:
    """Counts chunks of categories; the same words of several chunks are handed on once."""

    counter: CategoryCounter
    _dictionaries: list[Any] = field(default_factory=list)
    _counts: list[Any] = field(default_factory=list)
    _waiting: int = 0

    def add(self, column: Any) -> None:
        if not pa.types.is_dictionary(column.type):
            column = pc.cast(column, pa.string()).dictionary_encode()
        nulls = column.null_count
        places = column.indices.drop_null() if nulls else column.indices
        words = column.dictionary
        counts = np.bincount(places.to_numpy(zero_copy_only=False), minlength=len(words))
        if words.null_count:  # a dictionary may hold null as a word
            empty = words.is_null().to_numpy(zero_copy_only=False)
            nulls += int(counts[empty].sum())
            words, counts = words.drop_null(), counts[~empty]
        self.counter.add((), (), nulls)
        self._dictionaries.append(pc.cast(words, pa.string()))
        self._counts.append(counts)
        self._waiting += len(words)
        if self._waiting > _WORDS:
            self._hand_on()

    def profile(self) -> ColumnProfile:
        self._hand_on()
        return self.counter.profile()

    def _hand_on(self) -> None:
        if not self._dictionaries:
            return
        coded = pa.concat_arrays(self._dictionaries).dictionary_encode()
        rows = np.bincount(
            coded.indices.to_numpy(zero_copy_only=False),
            np.concatenate(self._counts),
            minlength=len(coded.dictionary),
        )
        self.counter.add(coded.dictionary.to_pylist(), rows.astype(np.int64).tolist())
        self._dictionaries, self._counts, self._waiting = [], [], 0
