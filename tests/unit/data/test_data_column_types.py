"""Declared types on raw cells: what fits, what is null, and where the first fault stands."""

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ferryman.data.rows.column_types import shorten, type_column
from ferryman.spec.sources import ColumnSpec

UTC = dt.UTC


def text(kind: str, *cells: str, nullable: bool = True) -> Any:
    column = ColumnSpec.model_validate({"type": kind, "nullable": nullable})
    return type_column(pa.array(cells, pa.string()), "c", column, form="text")


def stored(kind: str, array: Any, *, nullable: bool = True) -> Any:
    column = ColumnSpec.model_validate({"type": kind, "nullable": nullable})
    return type_column(array, "c", column, form="typed")


@pytest.mark.parametrize(
    ("kind", "cells", "values"),
    [
        ("integer", ["1", "-7", "007", ""], [1, -7, 7, None]),
        ("integer", ["9223372036854775807"], [2**63 - 1]),
        ("number", ["1.5", "-.5", "5.", "1e3", ""], [1.5, -0.5, 5.0, 1000.0, None]),
        ("boolean", ["true", "False", ""], [True, False, None]),
        ("category", ["NA", "", "=1+1", "{{ x }}"], ["NA", None, "=1+1", "{{ x }}"]),
        ("text", ["null", "NaN", " "], ["null", "NaN", " "]),
        (
            "timestamp",
            ["2013-01-01T00:00:00Z", "2013-01-01 00:00+02:00", "2013-01-01T00:00:00.5-0500", ""],
            [
                dt.datetime(2013, 1, 1, tzinfo=UTC),
                dt.datetime(2012, 12, 31, 22, tzinfo=UTC),
                dt.datetime(2013, 1, 1, 5, 0, 0, 500_000, tzinfo=UTC),
                None,
            ],
        ),
    ],
)
def test_text_cells_that_fit(kind: str, cells: list[str], values: list[object]) -> None:
    typed, faults = text(kind, *cells)
    assert faults == []
    assert typed.to_pylist() == values


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("integer", "1.0"),
        ("integer", "9223372036854775808"),
        ("integer", "NA"),
        ("integer", " 1"),
        ("integer", "0x10"),
        ("integer", "1_000"),
        ("integer", "1\n"),
        ("number", "1e400"),
        ("number", "nan"),
        ("number", "inf"),
        ("number", "NA"),
        ("number", "1,5"),
        ("number", "."),
        ("boolean", "1"),
        ("boolean", "yes"),
        ("timestamp", "2013-01-01T00:00:00"),
        ("timestamp", "2013-13-01T00:00:00Z"),
        ("timestamp", "2013-02-30T00:00:00Z"),
        ("timestamp", "01.02.2013"),
        ("timestamp", "1356998400"),
    ],
)
def test_text_cells_that_do_not_fit(kind: str, bad: str) -> None:
    good = {"integer": "1", "number": "1", "boolean": "true", "timestamp": "2013-01-01T00:00Z"}
    typed, faults = text(kind, good[kind], bad, "", good[kind])
    assert [(fault.column, fault.rows.tolist(), fault.example) for fault in faults] == [
        ("c", [1], repr(bad))
    ]
    assert typed.null_count == 2
    assert typed[0].as_py() == typed[3].as_py() is not None


@pytest.mark.parametrize(
    ("kind", "array", "values"),
    [
        ("integer", pa.array([1, None], pa.int32()), [1, None]),
        ("integer", pa.array([1.0, float("nan")]), [1, None]),
        ("integer", pa.nulls(2), [None, None]),
        ("number", pa.array([1, 2], pa.int16()), [1.0, 2.0]),
        ("number", pa.array([1.5, float("nan")]), [1.5, None]),
        ("category", pa.array(["a", None]).dictionary_encode(), ["a", None]),
        ("category", pa.array(["a"], pa.large_string()), ["a"]),
        ("boolean", pa.array([True, None]), [True, None]),
        (
            "timestamp",
            pa.array([1_500], pa.timestamp("ns", "America/New_York")),
            [dt.datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)],
        ),
    ],
)
def test_stored_columns_that_fit(kind: str, array: Any, values: list[object]) -> None:
    typed, faults = stored(kind, array)
    assert faults == []
    assert typed.to_pylist() == values


@pytest.mark.parametrize(
    ("kind", "array", "row"),
    [
        ("integer", pa.array([1.0, 1.5]), 1),
        ("integer", pa.array([1.0, 2.0**63]), 1),
        ("integer", pa.array([1, 2**63], pa.uint64()), 1),
        ("number", pa.array([1.0, float("inf")]), 1),
        ("timestamp", pa.array([0, 2**60], pa.timestamp("s", "UTC")), 1),
    ],
)
def test_stored_cells_that_do_not_fit(kind: str, array: Any, row: int) -> None:
    typed, faults = stored(kind, array)
    assert [fault.rows.tolist() for fault in faults] == [[row]]
    assert not faults[0].whole
    assert typed.null_count == 1


@pytest.mark.parametrize(
    ("kind", "array", "words"),
    [
        ("number", pa.array(["1", "2", "x"]), "is stored as string, but is declared number"),
        ("integer", pa.array([True]), "bool"),
        ("category", pa.array([1]), "int64"),
        ("category", pa.array([b"a"]), "binary"),
        ("timestamp", pa.array([0], pa.timestamp("us")), "without a time zone"),
        ("timestamp", pa.array([0], pa.date32()), "date32"),
        ("boolean", pa.array([1]), "int64"),
        ("number", pa.array([[1.0]]), "list"),
    ],
)
def test_columns_of_the_wrong_type(kind: str, array: Any, words: str) -> None:
    _, faults = stored(kind, array)
    assert faults[0].whole
    assert words in faults[0].why
    assert len(faults[0].rows) >= 1


def test_text_in_a_number_column_points_at_the_cell() -> None:
    _, faults = stored("number", pa.array(["1", "2", "three"]))
    assert faults[0].rows.tolist() == [2]
    assert faults[0].example == "'three'"


def test_messages_are_bounded() -> None:
    assert len(shorten("x" * 1_000_000)) < 100
    assert "\n" not in shorten("a\nb")


def test_faults_of_a_large_column_are_counted_in_full() -> None:
    _, faults = type_column(pa.array(["x"] * 5_000), "c", ColumnSpec(type="number"), form="text")
    assert np.array_equal(faults[0].rows, np.arange(5_000))


ROME = ColumnSpec(type="timestamp", nullable=True, zone="Europe/Rome")
LOCAL = [
    ("2026-01-31T09:05:00", dt.datetime(2026, 1, 31, 8, 5, tzinfo=UTC)),
    ("2026-07-31 09:05", dt.datetime(2026, 7, 31, 7, 5, tzinfo=UTC)),
    ("2026-10-25T01:59:59", dt.datetime(2026, 10, 24, 23, 59, 59, tzinfo=UTC)),
]


def test_a_declared_zone_gives_local_times_their_moment() -> None:
    cells = [cell for cell, _ in LOCAL]
    moments = [moment for _, moment in LOCAL]
    for form in ("text", "json"):
        typed, faults = type_column(pa.array([*cells, None]), "c", ROME, form=form)
        assert (typed.to_pylist(), faults) == ([*moments, None], [])
    naive = pa.array([dt.datetime.fromisoformat(cell) for cell in cells])
    for unit in ("ns", "us", "ms", "s"):
        typed, faults = type_column(naive.cast(pa.timestamp(unit)), "c", ROME, form="typed")
        assert (typed.to_pylist(), faults) == (moments, [])


def test_a_time_with_a_zone_of_its_own_keeps_it() -> None:
    cells = pa.array(["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00Z", "2026-01-01T00:00:00"])
    typed, faults = type_column(cells, "c", ROME, form="text")
    assert faults == []
    assert [moment.hour for moment in typed.to_pylist()] == [0, 2, 23]


@pytest.mark.parametrize("form", ["text", "typed"])
def test_times_that_the_clock_has_twice_or_never(form: Any) -> None:
    cells = ["2026-10-25T02:30:00", "2026-03-29T02:30:00", "2026-03-29T03:00:00"]
    raw = pa.array(cells)
    if form == "typed":
        raw = pa.array([dt.datetime.fromisoformat(cell) for cell in cells], pa.timestamp("us"))
    typed, faults = type_column(raw, "c", ROME, form=form)
    assert [(fault.rows.tolist(), fault.why) for fault in faults] == [
        ([0], "stands twice on the clock of Europe/Rome"),
        ([1], "does not exist on the clock of Europe/Rome"),
    ]
    assert "2026-03-29" in faults[1].example
    assert typed.to_pylist() == [None, None, dt.datetime(2026, 3, 29, 1, tzinfo=UTC)]


def test_what_is_no_time_at_all_is_no_local_time_either() -> None:
    typed, faults = type_column(
        pa.array(["2026-13-01T00:00:00", "tomorrow", ""]), "c", ROME, form="text"
    )
    assert [(fault.rows.tolist(), fault.why) for fault in faults] == [
        ([0, 1], "is no time, such as 2013-01-31T09:05:00")
    ]
    assert typed.null_count == 3


def test_times_are_text_in_json_and_a_fault_in_parquet() -> None:
    plain = ColumnSpec(type="timestamp", nullable=True)
    raw = pa.array(["2026-01-01T00:00:00Z", "2026-01-01T00:00:00", ""])
    typed, faults = type_column(raw, "c", plain, form="json")
    assert [fault.rows.tolist() for fault in faults] == [[1, 2]]
    assert typed[0].as_py() == dt.datetime(2026, 1, 1, tzinfo=UTC)
    _, faults = type_column(raw, "c", plain, form="typed")
    assert faults[0].whole
