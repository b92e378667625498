"""JSON lines: what a line must be, and what becomes of cells of another kind."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from ferryman.data.sources.files_source import FilesSource
from ferryman.data.sources.source import SourceRows
from ferryman.errors import DataRejected
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.spec.sources import FilesSourceSpec
from ferryman.spec.windows import day_window

ROW: dict[str, Any] = {"at": "2013-01-01T06:00:00Z", "n": 1, "x": 0.5, "w": "a", "b": True}
DAY = day_window(dt.datetime(2013, 1, 1, tzinfo=dt.UTC))


def source(folder: Path, text: str, **columns: dict[str, Any]) -> FilesSource:
    (folder / "rows.ndjson").write_text(text)
    kinds = {"at": "timestamp", "n": "integer", "x": "number", "w": "category", "b": "boolean"}
    declared = {
        name: {"type": kind, "nullable": name != "at", **columns.get(name, {})}
        for name, kind in kinds.items()
    }
    values = {"kind": "files", "path": "*.ndjson", "event_time": "at", "columns": declared}
    spec = FilesSourceSpec.model_validate(values)
    return FilesSource("rows", spec, LocalObjectStore(folder))


def lines(*rows: dict[str, Any] | str) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def read(folder: Path, *rows: dict[str, Any] | str) -> SourceRows:
    return source(folder, lines(*rows)).read(DAY, DAY)


def refusal(folder: Path, *rows: dict[str, Any] | str) -> str:
    with pytest.raises(DataRejected) as caught:
        read(folder, *rows)
    assert len(caught.value.text) < 1_000
    return caught.value.text.partition("rows.ndjson: ")[2]


def test_cells_of_every_kind(tmp_path: Path) -> None:
    other = {"b": None, "w": "", "x": 3, "n": -(2**63), "at": "2013-01-01T09:00:00+02:00"}
    whole = {**ROW, "n": 7.0, "x": 2**70, "w": "ünï ☃ \n"}
    table = read(tmp_path, ROW, other, whole).table
    assert table.column("n").to_pylist() == [1, -(2**63), 7]
    assert table.column("x").to_pylist() == [0.5, 3.0, float(2**70)]
    assert table.column("w").to_pylist() == ["a", "", "ünï ☃ \n"]
    assert table.column("b").to_pylist() == [True, None, True]
    assert table.column("at").to_pylist()[1].hour == 7


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "line 2 is empty"),
        ("  ", "line 2 is empty"),
        ("[1, 2]", "line 2 is not a JSON object: it does not begin with '{'"),
        ("7", "line 2 is not a JSON object: it does not begin with '{'"),
        ('{"at": 1,', "line 2 is not JSON: "),
        (json.dumps(ROW) + "}", "line 2 is not JSON: Extra data"),
        (json.dumps({**ROW, "pilot": 1}), "line 2: column 'pilot' is not declared"),
        (json.dumps({"at": ROW["at"]}), "line 2: column 'n' is missing; column 'x' is missing"),
        ('{"n": 1, "n": 2}', "line 2 is not JSON: the key 'n' twice"),
        (json.dumps({**ROW, "w": ["a"]}), "line 2 has a list or an object in column 'w'"),
        (json.dumps({**ROW, "n": {"a": 1}}), "line 2 has a list or an object in column 'n'"),
        (json.dumps({**ROW, "x": float("nan")}), "line 2 is not JSON: NaN, which is no JSON"),
        (json.dumps({**ROW, "x": float("inf")}), "line 2 is not JSON: Infinity, which is no JSON"),
        (json.dumps({**ROW, "w": "a\0b"}), "line 2 holds a NUL character"),
        ('{"n": ' + "9" * 5_000 + "}", "line 2 is not JSON: a number of more than 4300 digits"),
        ('{"n": ' + "[" * 100_000 + "}", "line 2 is not JSON: lists in lists without end"),
    ],
)
def test_a_line_that_is_no_flat_object_refuses_the_file(
    tmp_path: Path, line: str, words: str
) -> None:
    assert words in refusal(tmp_path, ROW, line, ROW)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"n": "7"}, "column 'n', line 2: "),
        ({"n": 7.5}, "column 'n', line 2: 7.5 is no "),
        ({"n": True}, "column 'n', line 2: "),
        ({"n": 2**63}, "column 'n', line 2: "),
        ({"x": "1.5"}, "column 'x', line 2: "),
        ({"w": 7}, "column 'w', line 2: "),
        ({"w": "\ud800"}, "column 'w', line 2: "),
        ({"b": "true"}, "column 'b', line 2: "),
        ({"b": 1}, "column 'b', line 2: "),
        ({"at": 1357020000}, "column 'at', line 2: "),
        ({"at": "2013-01-01 05:00:00"}, "column 'at', line 2: '2013-01-01 05:00:00' is no time"),
        ({"at": None}, "column 'at', line 2: null is null"),
    ],
)
def test_a_cell_of_another_kind_is_a_fault(
    tmp_path: Path, cells: dict[str, Any], words: str
) -> None:
    assert words in refusal(tmp_path, ROW, {**ROW, **cells}, ROW)


def test_a_number_beyond_every_float(tmp_path: Path) -> None:
    line = json.dumps(ROW).replace("0.5", "1e400")
    assert "column 'x', line 2: " in refusal(tmp_path, ROW, line)


def test_the_line_is_counted_from_the_start_of_the_file(tmp_path: Path) -> None:
    rows = [json.dumps(ROW)] * 40_000
    rows[35_000] = json.dumps({**ROW, "n": [1]})
    assert "line 35001 has a list" in refusal(tmp_path, *rows)
    rows[35_000] = json.dumps({**ROW, "n": 0.5})
    assert "column 'n', line 35001: 0.5" in refusal(tmp_path, *rows)
