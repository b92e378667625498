"""A damaged file is refused before anything parses it, and the text says where."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferryman.data.csv_shape import line_of_row
from ferryman.data.prechecks import check_file
from ferryman.errors import DataRejected

COLUMNS = ["a", "b", "c"]
GOOD = b"a,b,c\n1,2,3\n4,5,6\n"


def write(folder: Path, content: bytes, name: str = "x.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataRejected) as caught:
        check_file(path, COLUMNS)
    assert caught.value.exit_code == 3
    assert str(path) in caught.value.text
    assert len(caught.value.text) < 2_000
    return caught.value.text


def test_a_good_csv(tmp_path: Path) -> None:
    checked = check_file(write(tmp_path, GOOD), COLUMNS)
    assert (checked.rows, checked.size) == (2, len(GOOD))
    assert checked.sha256 == hashlib.sha256(GOOD).hexdigest()


@pytest.mark.parametrize(
    "content",
    [
        b"c,a,b\n1,2,3\n",
        b"a,b,c\r\n1,2,3\r\n",
        b'"a","b","c"\n"1,5","two\nlines","say ""x"""\n',
        "a,b,c\nä,ö,☃\n".encode(),
    ],
    ids=["reordered", "crlf", "quoted", "umlauts"],
)
def test_legal_forms_of_csv(tmp_path: Path, content: bytes) -> None:
    assert check_file(write(tmp_path, content), COLUMNS).rows == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty (0 bytes)"),
        (b"a,b,c\n", "a header and no rows"),
        (b"a,b,c\n1,2,3\n4,5\n", "line 3 has 2 fields, header has 3"),
        (b"a,b,c\n1,2,3,4\n", "line 2 has 4 fields, header has 3"),
        (b"a,b,c\n1,2,3\n\n4,5,6\n", "line 3 is empty"),
        (b"a,b,c\n1,2,3\n4,5,6", "line 3, the last, does not end with a newline"),
        (b'a,b,c\n1,2,3\n4,5,"6\n', "line 3: a quoted cell is never closed"),
        (b'a,b,c\n1,"2"x,3\n', "line 2: "),
        (b"a,b,c\n1,\x002,3\n", "byte 9, line 2: a NUL byte"),
        (b"a,b,c\n1,2,3\n4,\xff,6\n", "byte 15, line 3: not UTF-8"),
        (b"a,b,c\n1,2,\xc3", "ends inside a UTF-8 character"),
        ("a,b,c\n1,2,3\n".encode("utf-16"), "byte 1: the file is UTF-16"),
        (b"\xef\xbb\xbf" + GOOD, "byte order mark"),
        (b"a;b;c\n1;2;3\n", "line 1: fields are separated by ';'"),
        (b"a\tb\tc\n1\t2\t3\n", "separated by '\\t'"),
        (b"a,b\n1,2\n", "line 1: column 'c' is missing"),
        (b"a,b,c,d\n1,2,3,4\n", "column 'd' is not declared"),
        (b"a,b,b,c\n1,2,3,4\n", "column 'b' stands twice"),
    ],
)
def test_damaged_csv(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in refusal(write(tmp_path, content))


def test_a_renamed_column_names_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path, b"temp,station\n1,2\n")
    with pytest.raises(DataRejected) as caught:
        check_file(path, ["temp", "stations"])
    assert "column 'stations' is missing (renamed to 'station'?)" in caught.value.text
    assert "column 'station' is not declared; did you mean 'stations'?" in caught.value.text


def test_a_character_across_two_pieces_is_no_fault(tmp_path: Path) -> None:
    filler = b"x" * ((1 << 20) - len(b"a,b,c\n1,2,") - 1)
    rows = b"a,b,c\n1,2," + filler + "☃".encode() + b"\n"
    # One cell may not be larger than 128 KiB, so the pieces are cut by a file of many rows.
    many = b"a,b,c\n" + "ä,ö,ü☃\n".encode() * 120_000
    assert check_file(write(tmp_path, many), COLUMNS).rows == 120_000
    assert "field larger than field limit" in refusal(write(tmp_path, rows, "big.csv"))


def test_a_fault_behind_the_first_piece_is_placed_in_the_file(tmp_path: Path) -> None:
    row = b"1,2,3\n"
    content = b"a,b,c\n" + row * 200_000 + b"4,\xff,6\n" + row * 10
    text = refusal(write(tmp_path, content))
    assert f"byte {6 + len(row) * 200_000 + 3}, line 200002: not UTF-8" in text


def test_a_huge_header_makes_a_short_message(tmp_path: Path) -> None:
    header = ",".join(f"column_{number}" * 50 for number in range(200))
    text = refusal(write(tmp_path, f"{header}\n{header}\n".encode()))
    assert "and " in text


def test_the_line_of_a_row_counts_line_breaks_in_cells(tmp_path: Path) -> None:
    path = write(tmp_path, b'a,b,c\n1,"two\nlines",3\n4,5,6\n')
    assert [line_of_row(path, row) for row in (0, 1)] == [2, 4]


def parquet(folder: Path, **columns: list[object]) -> Path:
    path = folder / "x.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def test_a_good_parquet(tmp_path: Path) -> None:
    path = parquet(tmp_path, b=[1, 2], a=[1, 2], c=["x", "y"])
    assert check_file(path, COLUMNS).rows == 2


def test_damaged_parquet(tmp_path: Path) -> None:
    whole = parquet(tmp_path, a=[1], b=[2], c=[3]).read_bytes()
    for cut in (1, 11, len(whole) // 2, len(whole) - 1):
        text = refusal(write(tmp_path, whole[:cut], f"cut{cut}.parquet"))
        assert "truncated" in text or "not a Parquet file" in text
    assert "not a Parquet file" in refusal(write(tmp_path, GOOD, "text.parquet"))
    footer = bytearray(whole)
    footer[-40:-12] = b"\xff" * 28
    assert "damaged Parquet footer" in refusal(write(tmp_path, bytes(footer), "footer.parquet"))


def test_columns_and_rows_of_parquet(tmp_path: Path) -> None:
    assert "column 'c' is missing" in refusal(parquet(tmp_path, a=[1], b=[2]))
    assert "'d' is not declared" in refusal(parquet(tmp_path, a=[1], b=[2], c=[3], d=[4]))
    assert "no rows" in refusal(parquet(tmp_path, a=[], b=[], c=[]))


def test_the_manifest_beside_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    sidecar = tmp_path / "x.csv.manifest.json"
    right = {"bytes": len(GOOD), "sha256": hashlib.sha256(GOOD).hexdigest(), "rows": 2}
    sidecar.write_text(json.dumps(right))
    assert check_file(path, COLUMNS).rows == 2
    for key, wrong in {"bytes": 1, "sha256": "0" * 64, "rows": 3}.items():
        sidecar.write_text(json.dumps({**right, key: wrong}))
        assert f"{key} is {right[key]}, its manifest says {wrong}" in refusal(path)
    sidecar.write_text("{")
    assert "not JSON" in refusal(path)
    sidecar.write_text('{"md5": "x"}')
    assert "other keys" in refusal(path)
