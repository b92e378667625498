"""Cells that come as Python values: in a column of their kind, or set aside with their text."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from ferryman.data.rows.cells import table_of_cells
from ferryman.data.rows.quarantine import Origin
from ferryman.data.rows.row_intake import RowIntake
from ferryman.errors import DataRejected
from ferryman.spec.sources import ColumnSpec, FilesSourceSpec


@pytest.mark.parametrize(
    ("kind", "cells", "values", "misfits"),
    [
        ("integer", [1, 2.0, Decimal(3), None], [1, 2, 3, None], {}),
        ("integer", [True, "1", 1.5, 2**63, 7], [None] * 4 + [7],
         {0: "true", 1: '"1"', 2: "1.5", 3: "9223372036854775808"}),
        ("number", [1, 2.5, Decimal("0.1"), -(2**63)], [1.0, 2.5, 0.1, -(2.0**63)], {}),
        ("number", ["1", False, 10**400], [None] * 3,
         {0: '"1"', 1: "false", 2: "1" + "0" * 400}),
        ("category", ["a", "", 5, "\ud800", ["x"]], ["a", "", None, None, None],
         {2: "5", 3: '"\\ud800"', 4: '["x"]'}),
        ("boolean", [True, None, 1, "true"], [True, None, None, None], {2: "1", 3: '"true"'}),
        ("timestamp", [dt.datetime(2013, 1, 1, tzinfo=dt.UTC), "2013-01-01", 5],
         ["2013-01-01T00:00:00+00:00", "2013-01-01", None], {2: "5"}),
    ],
)  # fmt: skip
def test_what_fits_and_what_does_not(
    kind: str, cells: list[Any], values: list[Any], misfits: dict[int, str]
) -> None:
    column = ColumnSpec.model_validate({"type": kind, "nullable": True})
    table, found = table_of_cells({"c": cells}, {"c": column})
    assert table.column("c").to_pylist() == values
    assert found == ({"c": misfits} if misfits else {})


def test_a_misfit_is_a_bad_cell_like_any_other() -> None:
    spec = FilesSourceSpec.model_validate(
        {
            "kind": "files",
            "path": "rows.jsonl",
            "columns": {
                "name": {"type": "category"},
                "heat": {"type": "number", "nullable": True, "invalid": "null"},
            },
        }
    )
    cells = {"name": ["a", 7, "c"], "heat": [1.5, 2.5, "{{ hot }}"]}
    raw, misfits = table_of_cells(cells, spec.columns)
    origin = Origin("pages", "the pages", "json")

    def intake(share: float) -> RowIntake:
        made = RowIntake("rows", spec, None, max_rejected=share)
        made.add(raw, 10, origin, misfits)
        return made

    with pytest.raises(DataRejected) as caught:
        intake(0.5).finish()
    assert caught.value.text == (
        "the pages: column 'name', row 12: 7 is no text; column 'heat', row 13: \"{{ hot }}\" is "
        "no finite number (2 of 3 rows are bad: 1 to drop, 1 to change)"
    )
    table, cleaning = intake(0.7).finish()
    assert table.to_pylist() == [{"name": "a", "heat": 1.5}, {"name": "c", "heat": None}]
    assert [(line["value"], line["row"]) for line in cleaning.quarantine.to_pylist()] == [
        ("7", '{"name": "7", "heat": "2.5"}'),
        ('"{{ hot }}"', r'{"name": "c", "heat": "\"{{ hot }}\""}'),
    ]
