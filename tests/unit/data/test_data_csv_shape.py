"""The quick look at CSV by numpy and the slow one by cells say the same, of any bytes."""

import csv
import io

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ferryman.data.sources.block_cache import BlockCache
from ferryman.data.sources.csv_faults import CsvFault, scan_rows
from ferryman.data.sources.csv_shape import CsvShape
from ferryman.data.sources.delivery import Delivery
from ferryman.data.sources.file_blocks import read_blocks
from ferryman.data.sources.prechecks import check_file
from ferryman.errors import DataRejected
from ferryman.runtime.memory_object_store import MemoryObjectStore
from ferryman.spec.sources import FilesSourceSpec

NAMES = ["a", "b", "c"]
TOKENS = [b",", b"\n", b"\r\n", b"\r", b'"', b'""', b"x", b"12", "é".encode(), b" "]
CELLS = st.text(st.sampled_from(['"', ",", "\n", "\r", "x", "é", " "]), max_size=4)


def quick(text: bytes, fields: int, sizes: list[int]) -> tuple[list[int] | None, str]:
    """The lines of the rows, or why not; the text comes in pieces of the given sizes."""
    names = NAMES[:fields]
    shape = CsvShape("x", names, keep_lines=True)
    whole = ",".join(names).encode() + b"\n" + text
    try:
        place = 0
        for size in [*sizes, len(whole)]:
            shape.add(whole[place : place + size])
            place += size
        shape.finish(vouched=False)
    except DataRejected as error:
        return None, error.text
    lines = shape.row_lines().tolist()
    assert len(lines) == shape.rows
    assert shape.multiline or lines == list(range(2, shape.rows + 2))
    return lines, ""


def slow(text: bytes, fields: int) -> tuple[list[int] | None, str]:
    lines, end = [], 0
    try:
        for row in scan_rows(text, 2):
            if row.blank:
                return None, f"x: line {row.line} is empty"
            if len(row.fields) != fields:
                s = "" if len(row.fields) == 1 else "s"
                given = f"{len(row.fields)} field{s}"
                return None, f"x: line {row.line} has {given}, header has {fields}"
            lines.append(row.line)
            end = row.end
    except CsvFault as fault:
        return None, f"x: {fault}"
    return (lines, "") if end == len(text) else (None, "")


def parsed(text: bytes, fields: int) -> list[list[str]]:
    """The cells as a source hands them on, by way of pyarrow."""
    names = NAMES[:fields]
    store = MemoryObjectStore()
    store.create("x.csv", ",".join(names).encode() + b"\n" + text)
    declared = {name: {"type": "text"} for name in names}
    spec = FilesSourceSpec.model_validate({"kind": "files", "path": "x.csv", "columns": declared})
    delivery = Delivery(store, "x.csv")
    with delivery.opened() as stream:
        checked = check_file(delivery, stream, spec)
        blocks = read_blocks(checked, lambda: stream, spec, None, BlockCache(1_000_000))
        return [list(row.values()) for block in blocks for row in block.raw.to_pylist()]


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(TOKENS), max_size=24).map(b"".join),
    st.integers(1, 3),
    st.lists(st.integers(1, 9), max_size=12),
)
@example(b'"a","b\n', 2, [])
@example(b'1,"2"\r\n"3\r",4\n', 2, [])
@example(b'x"\n', 1, [3])
@example(b'""\n\n', 1, [])
def test_any_bytes(text: bytes, fields: int, sizes: list[int]) -> None:
    lines, why = quick(text, fields, sizes)
    expected, reason = slow(text, fields)
    assert lines == expected
    if lines:
        assert parsed(text, fields) == [row.texts() for row in scan_rows(text, 2)]
    if reason:
        assert why == reason
    elif expected is None:
        assert "the last, does not end with a newline" in why or "is never closed" in why


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 3).flatmap(
        lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), min_size=1, max_size=8)
    ),
    st.lists(st.integers(1, 40), max_size=6),
)
def test_what_python_writes_is_read_as_it_was(rows: list[list[str]], sizes: list[int]) -> None:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    text = written.getvalue().encode()
    lines, why = quick(text, len(rows[0]), sizes)
    assert why == ""
    assert lines is not None
    assert len(lines) == len(rows)
    assert [row.texts() for row in scan_rows(text, 2)] == rows
    assert parsed(text, len(rows[0])) == rows
