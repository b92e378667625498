"""Duplicates, against the plainest way to find them."""

from typing import Any, Literal

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ferryman.data.rows.duplicates import find_duplicates

Keep = Literal["first", "last"]
CELLS = st.sampled_from(["a", "b", None])
ROWS = st.lists(
    st.tuples(CELLS, st.sampled_from([1, 2, None]), CELLS, st.integers(0, 1), st.booleans()),
    max_size=14,
)


def plainly(rows: list[tuple[Any, ...]], keep: Keep) -> tuple[list[int], list[int]]:
    """Positions of identical and of differing duplicates."""
    members: dict[Any, list[int]] = {}
    for place, (name, number, _, group, candidate) in enumerate(rows):
        if candidate and name is not None and number is not None:
            members.setdefault((name, number, group), []).append(place)
    same, other = [], []
    for places in members.values():
        stays = places[0 if keep == "first" else -1]
        for place in places:
            if place != stays:
                (same if rows[place][:3] == rows[stays][:3] else other).append(place)
    return sorted(same), sorted(other)


@given(rows=ROWS, keep=st.sampled_from(["first", "last"]))
def test_as_found_plainly(rows: list[tuple[Any, ...]], keep: Keep) -> None:
    table = pa.table(
        {
            "name": pa.array([row[0] for row in rows], pa.string()),
            "number": pa.array([row[1] for row in rows], pa.int64()),
            "more": pa.array([row[2] for row in rows], pa.string()),
        }
    )
    found = find_duplicates(
        table,
        ["name", "number"],
        np.array([row[4] for row in rows], dtype=bool),
        np.array([row[3] for row in rows], dtype=np.int64),
        keep,
    )
    assert (found.identical.tolist(), found.differing.tolist()) == plainly(rows, keep)
