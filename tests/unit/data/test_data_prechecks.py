"""A damaged file is refused before anything parses it, and the text says where."""

import gzip
import hashlib
import json
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferryman.data.sources.delivery import Delivery
from ferryman.data.sources.file_blocks import lines_of_rows
from ferryman.data.sources.prechecks import CheckedFile
from ferryman.data.sources.prechecks import check_file as check_delivery
from ferryman.errors import DataRejected, DependencyUnavailable
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.spec.sources import FilesSourceSpec

COLUMNS = ["a", "b", "c"]
GOOD = b"a,b,c\n1,2,3\n4,5,6\n"


def spec(columns: Iterable[str] = COLUMNS, **changes: Any) -> FilesSourceSpec:
    declared = {name: {"type": "text"} for name in columns}
    return FilesSourceSpec.model_validate(
        {"kind": "files", "path": "x.csv", "columns": declared, **changes}
    )


def check_file(path: Path, columns: Iterable[str] = COLUMNS, **changes: Any) -> CheckedFile:
    delivery = Delivery(LocalObjectStore(path.parent), path.name)
    with delivery.opened() as stream:
        return check_delivery(delivery, stream, spec(columns, **changes))


def write(folder: Path, content: bytes, name: str = "x.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def refusal(path: Path, **changes: Any) -> str:
    with pytest.raises(DataRejected) as caught:
        check_file(path, **changes)
    assert caught.value.exit_code == 3
    assert str(path) in caught.value.text
    assert len(caught.value.text) < 2_000
    return caught.value.text


def test_a_good_csv(tmp_path: Path) -> None:
    checked = check_file(write(tmp_path, GOOD))
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
    assert check_file(write(tmp_path, content)).rows == 1


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
        (b'a,b,c\n1,"2"x,3\n', "line 2: text after the closing quote of a cell"),
        (b'a,b,c\n1,2"x",3\n', "line 2: a quote inside a cell that does not begin with one"),
        (b"a,b,c\r1,2,3\r", "line 1: a carriage return without a newline"),
        (b"a,b,c\n1,\r2,3\n", "line 2: a carriage return without a newline"),
        (b'a,b,c\n1,"2","3\n4,5,6\n', "line 2: a quoted cell is never closed"),
        (b'"a,b,c\n1,2,3\n', "line 1: a quoted cell is never closed"),
        (b"a,b,c\n1,\x002,3\n", "byte 9, line 2: a NUL byte"),
        (b"a,b,c\n1,2,3\n4,\xff,6\n", "byte 15, line 3: not UTF-8"),
        (b"a,b,c\n1,2,\xc3", "ends inside a UTF-8 character"),
        ("a,b,c\n1,2,3\n".encode("utf-16"), "byte 1: the file is UTF-16"),
        (b"\xef\xbb\xbf" + GOOD, "byte order mark"),
        (b"a;b;c\n1;2;3\n", "line 1: fields are separated by ';'"),
        (b'"a";"b";"c"\n"1";"2";"3"\n', "line 1: fields are separated by ';'"),
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
    many = b"a,b,c\n" + "ä,ö,ü☃\n".encode() * 120_000
    assert check_file(write(tmp_path, many)).rows == 120_000
    assert check_file(write(tmp_path, rows, "big.csv")).rows == 1


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
    path = write(tmp_path, b'a,b,c\n1,"two\nlines",3\n4,5,6\n7,8,"\n"\n9,8,7\n')
    checked = check_file(path)
    assert checked.multiline
    assert lines_of_rows(checked, spec()).tolist() == [2, 4, 5, 7]


def test_a_row_of_more_than_a_mebibyte_is_refused(tmp_path: Path) -> None:
    wide = b"a,b,c\n1,2,3\n4,5," + b"x" * (3 << 20) + b"\n"
    assert "line 3: longer than 1 MiB" in refusal(write(tmp_path, wide))
    swallowed = b'a,b,c\n1,2,3\n4,5,"6\n' + b"7,8,9\n" * 400_000
    text = "line 3: a quoted cell is not closed within 1 MiB"
    assert text in refusal(write(tmp_path, swallowed))
    late = b'a,b,c\n1,2,3\n4,5,"6\n' + b"7,8,9\n" * 200_000 + b'7,"8",9\n'
    assert "a cell that began on line 3" in refusal(write(tmp_path, late))


def test_a_million_bad_rows_make_a_short_message(tmp_path: Path) -> None:
    short = write(tmp_path, b"a,b,c\n" + b"1,2\n" * 1_000_000)
    assert refusal(short) == f"{short}: line 2 has 2 fields, header has 3"
    last = write(tmp_path, b"a,b,c\n" + b'1,"2",3\n' * 1_000_000 + b"1,2,3,4\n")
    assert refusal(last) == f"{last}: line 1000002 has 4 fields, header has 3"


def test_a_last_line_without_an_end_needs_a_manifest(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD[:-1])
    with pytest.raises(DataRejected, match="line 3, the last, does not end") as caught:
        check_file(path)
    assert "deliver a manifest" in caught.value.remedy
    sidecar = tmp_path / "x.csv.manifest.json"
    sidecar.write_text('{"rows": 2}')
    assert check_file(path).rows == 2
    sidecar.write_text('{"rows": 3}')
    assert "rows is 2, its manifest says 3" in refusal(path)
    path.write_bytes(b'a,b,c\n1,2,"3\n4,5,6')
    assert "a quoted cell is never closed" in refusal(path)


def parquet(folder: Path, **columns: list[object]) -> Path:
    path = folder / "x.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def test_a_good_parquet(tmp_path: Path) -> None:
    path = parquet(tmp_path, b=[1, 2], a=[1, 2], c=["x", "y"])
    assert check_file(path).rows == 2


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
    assert check_file(path).rows == 2
    for key, wrong in {"bytes": 1, "sha256": "0" * 64, "rows": 3}.items():
        sidecar.write_text(json.dumps({**right, key: wrong}))
        assert f"{key} is {right[key]}, its manifest says {wrong}" in refusal(path)
    sidecar.write_text("{")
    assert "not JSON" in refusal(path)
    sidecar.write_text('{"rows": true}')
    assert "'rows': Input should be a valid integer" in refusal(path)
    sidecar.write_text('{"sha256": "abc"}')
    assert "'sha256': String should match pattern" in refusal(path)
    sidecar.write_text('{"md5": "x"}')
    assert "another key than bytes, sha256, rows: 'md5'" in refusal(path)


def test_a_manifest_that_is_required(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert "no manifest x.csv.manifest.json beside it" in refusal(path, manifest="required")
    sidecar = tmp_path / "x.csv.manifest.json"
    sidecar.write_text("{}")
    assert "holds none of bytes, sha256 and rows" in refusal(path, manifest="required")
    sidecar.write_text('{"rows": 2}')
    assert check_file(path, manifest="required").rows == 2


def test_that_other_bytes_came_is_told_before_what_is_wrong_with_them(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + b"1,2\n")
    (tmp_path / "x.csv.manifest.json").write_text(json.dumps({"sha256": "0" * 64}))
    assert "sha256 is" in refusal(path)
    (tmp_path / "x.csv.manifest.json").write_text('{"rows": 3}')
    assert "line 4 has 2 fields" in refusal(path)


def packed(folder: Path, content: bytes, name: str = "x.csv.gz") -> Path:
    return write(folder, content, name)


def test_gzip_is_unpacked_as_it_is_read(tmp_path: Path) -> None:
    whole = gzip.compress(GOOD)
    checked = check_file(packed(tmp_path, whole))
    assert (checked.rows, checked.size) == (2, len(whole))
    assert checked.sha256 == hashlib.sha256(whole).hexdigest()
    members = gzip.compress(GOOD) + gzip.compress(b"7,8,9\n")
    assert check_file(packed(tmp_path, members)).rows == 3
    (tmp_path / "x.csv.gz.manifest.json").write_text(json.dumps({"bytes": len(members), "rows": 3}))
    assert check_file(packed(tmp_path, members)).rows == 3


def test_damaged_gzip(tmp_path: Path) -> None:
    whole = gzip.compress(GOOD * 50)
    for cut in (5, 15, len(whole) // 2, len(whole) - 4, len(whole) - 1):
        assert "truncated: the gzip data ends before its end" in refusal(
            packed(tmp_path, whole[:cut])
        )
    assert "not gzip data" in refusal(packed(tmp_path, GOOD))
    text = refusal(packed(tmp_path, gzip.compress(GOOD) + b"something else"))
    assert "no gzip data follows the gzip data" in text
    wrong_sum = bytearray(gzip.compress(GOOD))
    wrong_sum[-6] ^= 1
    assert "damaged gzip data: CRC check failed" in refusal(packed(tmp_path, bytes(wrong_sum)))
    rows = "".join(f"{1 / number},2,3\n" for number in range(1, 1_000))
    garbled = bytearray(gzip.compress(f"a,b,c\n{rows}".encode()))
    garbled[3_000:3_100] = b"\xff" * 100
    assert "damaged gzip data: " in refusal(packed(tmp_path, bytes(garbled)))
    assert "empty (0 bytes after unpacking)" in refusal(packed(tmp_path, gzip.compress(b"")))


def test_a_gzip_that_claims_ten_gigabytes_stops_at_its_cap(tmp_path: Path) -> None:
    """Ten gigabytes of legal rows: one member, repeated."""
    member = gzip.compress(b"1,2,3\n" * 5_000_000)
    bomb = packed(tmp_path, gzip.compress(b"a,b,c\n") + member * 350)
    assert 350 * 30_000_000 > 10_000_000_000
    tracemalloc.start()
    text = refusal(bomb, max_bytes=20_000_000, max_ratio=1e6)
    assert "unpacks to more than max_bytes, 20000000" in text
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()
    small = packed(tmp_path, gzip.compress(b"a,b,c\n" + b"1,2,3\n" * 1_000_000))
    assert f"unpacks to more than 200 times its {small.stat().st_size} bytes" in refusal(small)


def test_a_file_larger_than_its_cap(tmp_path: Path) -> None:
    assert "18 bytes are more than max_bytes, 17" in refusal(write(tmp_path, GOOD), max_bytes=17)
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({name: [1] * 100_000 for name in COLUMNS}), path)
    assert path.stat().st_size < 5_000
    text = refusal(path, max_bytes=1_000_000)
    assert "unpacks to 2400000 bytes, more than max_bytes, 1000000" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": 1}\n\xff\n', "byte 10, line 2: not UTF-8"),
        (b'{"a": 1}\n{"a": \x00}\n', "byte 16, line 2: a NUL byte"),
        (b'{"a": 1}\n{"a": 2}', "line 2, the last, does not end with a newline"),
        (b'\xef\xbb\xbf{"a": 1}\n', "byte order mark"),
        (b'{"a": "' + b"x" * (2 << 20) + b'"}\n', "line 1: longer than 1 MiB"),
        (b"", "empty (0 bytes)"),
    ],
    ids=["latin", "nul", "cut", "mark", "long", "empty"],
)
def test_damaged_bytes_of_json_lines(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in refusal(write(tmp_path, content, "x.jsonl"))


def test_a_file_that_is_gone_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(DependencyUnavailable, match="changed while it was read: it is gone"):
        check_file(tmp_path / "x.csv")
