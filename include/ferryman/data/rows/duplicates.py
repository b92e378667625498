"""Rows that name the same thing: which one stays, and whether the others say the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Duplicates:
    """Positions of the rows that go, ascending: equal to the one that stays, or not."""

    identical: Any
    differing: Any


def find_duplicates(
    table: Any, key: Sequence[str], candidates: Any, groups: Any, keep: Literal["first", "last"]
) -> Duplicates:
    """The second and further rows of a key within a group, in the order of the table.

    `candidates` is a mask of the rows that are looked at; of these, a row with null in its key has
    no name and so no duplicate. Rows are compared over every column of the table.
    """
    named = np.array(candidates)
    for name in key:
        named &= np.asarray(pc.is_valid(table.column(name)))
    rows = np.flatnonzero(named)
    part = table.select(list(key)).take(pa.array(rows))
    codes = np.unique(groups[rows], return_inverse=True)[1]
    for name in key:
        codes = _joined(codes, _codes(part.column(name)))
    if keep == "last":
        rows, codes = rows[::-1], codes[::-1]
    _, first, members = np.unique(codes, return_index=True, return_inverse=True)
    stays = rows[first[members]]
    gone = stays != rows
    rows, stays = rows[gone], stays[gone]
    order = np.argsort(rows)
    rows, stays = rows[order], stays[order]
    same = np.ones(len(rows), dtype=bool)
    both = table.take(pa.array(np.concatenate([rows, stays])))
    for column in both.columns:
        codes = _codes(column)
        same &= codes[: len(rows)] == codes[len(rows) :]
    return Duplicates(identical=rows[same], differing=rows[~same])


def _codes(column: Any) -> Any:
    """A whole number for each different value; null is -1."""
    encoded = column.combine_chunks().dictionary_encode()
    return np.asarray(pc.fill_null(encoded.indices, -1)).astype(np.int64)


def _joined(codes: Any, more: Any) -> Any:
    """One dense code for each pair."""
    pairs = codes * (int(more.max(initial=0)) + 1) + more
    return np.unique(pairs, return_inverse=True)[1]
