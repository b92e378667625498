"""Which files a window touches, and what may be missing."""

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferryman.data.sources.block_cache import BlockCache
from ferryman.data.sources.files_source import FilesSource
from ferryman.data.sources.path_template import PathTemplate
from ferryman.errors import DataRejected, DependencyUnavailable, PolicyRefused
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.spec.sources import FilesSourceSpec
from ferryman.spec.windows import Window


def day(month: int, number: int, days: int = 1) -> Window:
    start = dt.datetime(2013, month, number, tzinfo=dt.UTC)
    return Window(start=start, end=start + dt.timedelta(days=days))


def source(root: Path, path: str = "d/rows_{year}-{month}.csv", **changes: Any) -> FilesSource:
    values = {
        "kind": "files",
        "path": path,
        "event_time": "at",
        "lookback": "40d",
        "columns": {"at": {"type": "timestamp"}, "n": {"type": "integer"}},
        **changes,
    }
    return FilesSource("rows", FilesSourceSpec.model_validate(values), LocalObjectStore(root))


def month_file(root: Path, month: int, days: int = 28) -> Path:
    file = root / "d" / f"rows_2013-{month:02}.csv"
    file.parent.mkdir(exist_ok=True)
    lines = [f"2013-{month:02}-{number:02}T12:00:00Z,{number}" for number in range(1, days + 1)]
    file.write_text("\n".join(["at,n", *lines]) + "\n")
    return file


def test_the_paths_that_a_span_touches(tmp_path: Path) -> None:
    monthly = PathTemplate(LocalObjectStore(tmp_path), "rows_{year}-{month}.csv")
    assert monthly.paths(day(1, 31)) == ["rows_2013-01.csv"]
    assert monthly.paths(day(1, 31, 2)) == ["rows_2013-01.csv", "rows_2013-02.csv"]
    daily = PathTemplate(LocalObjectStore(tmp_path), "{year}/{month}/{day}/rows.csv")
    assert daily.paths(day(2, 28, 2)) == ["2013/02/28/rows.csv", "2013/03/01/rows.csv"]


def test_a_span_over_two_files_is_one_table(tmp_path: Path) -> None:
    month_file(tmp_path, 1, 31)
    month_file(tmp_path, 2)
    read = source(tmp_path).read(day(1, 31, 2), day(1, 31, 2))
    assert read.table.column("n").to_pylist() == [31, 1]
    assert [part.name for part in read.parts] == ["d/rows_2013-01.csv", "d/rows_2013-02.csv"]
    assert [part.rows for part in read.parts] == [31, 28]


def test_the_window_s_own_file_must_be_there(tmp_path: Path) -> None:
    month_file(tmp_path, 1)
    with pytest.raises(DataRejected, match=r"no file .*rows_2013-02\.csv, needed for") as caught:
        source(tmp_path).read(day(2, 3), day(2, 3))
    assert "Deliver the file" in caught.value.remedy


def test_files_before_the_first_may_be_missing_but_not_a_gap(tmp_path: Path) -> None:
    month_file(tmp_path, 3)
    back = Window(start=day(1, 25).start, end=day(3, 2).end)
    assert source(tmp_path).read(back, day(3, 2)).table.num_rows == 2
    month_file(tmp_path, 1)
    with pytest.raises(DataRejected, match=r"rows_2013-02\.csv"):
        source(tmp_path).read(back, day(3, 2))
    only_february = Window(start=day(2, 20).start, end=day(3, 2).end)
    with pytest.raises(DataRejected, match=r"rows_2013-02\.csv"):
        source(tmp_path).read(only_february, day(3, 2))


def test_a_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    outside = month_file(tmp_path, 1)
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "d" / "rows_2013-01.csv").symlink_to(outside)
    with pytest.raises(PolicyRefused, match="leads outside"):
        source(root).read(day(1, 3), day(1, 3))


def test_no_source_root_is_a_dependency(tmp_path: Path) -> None:
    with pytest.raises(DependencyUnavailable, match="no folder") as caught:
        source(tmp_path / "away").read(day(1, 1), day(1, 1))
    assert caught.value.exit_code == 6


def test_faults_outside_of_the_window_do_not_reject_it(tmp_path: Path) -> None:
    file = month_file(tmp_path, 1)
    text = file.read_text()
    file.write_text(text.replace("2013-01-20T12:00:00Z,20", "2013-01-20T12:00:00Z,twenty"))
    assert source(tmp_path).read(day(1, 3)).table.column("n").to_pylist() == [3]
    with pytest.raises(DataRejected, match=r"column 'n', line 21: 'twenty' is no whole number"):
        source(tmp_path).read(day(1, 20))


def test_a_row_without_a_time_rejects_every_window_of_its_file(tmp_path: Path) -> None:
    file = month_file(tmp_path, 1)
    file.write_text(file.read_text().replace("2013-01-20T12:00:00Z", "2013-01-20 at noon"))
    with pytest.raises(DataRejected, match=r"column 'at', line 21: '2013-01-20 at noon'"):
        source(tmp_path).read(day(1, 3))


def test_only_row_groups_of_the_span_are_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    times = [day(1, 1).start + dt.timedelta(hours=hour) for hour in range(240)]
    table = pa.table({"at": pa.array(times, pa.timestamp("us", "UTC")), "n": list(range(240))})
    pq.write_table(table, file, row_group_size=24, compression="none")
    groups = pq.ParquetFile(file).metadata
    damaged = bytearray(file.read_bytes())
    begin = groups.row_group(9).column(1).data_page_offset
    damaged[begin : begin + 30] = b"\xff" * 30
    file.write_bytes(bytes(damaged))
    reader = source(tmp_path, "rows.parquet")
    assert reader.read(day(1, 3)).table.column("n").to_pylist() == list(range(48, 72))
    with pytest.raises(DataRejected, match="damaged"):
        reader.read(day(1, 10))


def test_the_row_number_counts_from_the_start_of_the_file(tmp_path: Path) -> None:
    times = [day(1, 1).start + dt.timedelta(hours=hour) for hour in range(72)]
    values = [1.5 if row == 50 else float(row) for row in range(72)]
    table = pa.table({"at": pa.array(times, pa.timestamp("us", "UTC")), "n": values})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=24)
    with pytest.raises(DataRejected, match=r"column 'n', row 51: 1\.5 is no whole number"):
        source(tmp_path, "rows.parquet").read(day(1, 3))


def test_a_column_of_the_wrong_type(tmp_path: Path) -> None:
    table = pa.table({"at": [day(1, 1).start], "n": ["7"]})
    pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(
        DataRejected, match=r"column 'n' is stored as string, but is declared integer, row 1: '7'"
    ):
        source(tmp_path, "rows.parquet").read(day(1, 1))


def test_a_star_takes_every_file_of_its_day_in_the_order_of_names(tmp_path: Path) -> None:
    for name, number in (("b", 2), ("Zürich 7h", 9), ("a", 1), ("deep/er", 5)):
        file = tmp_path / "d" / "2013-01-03" / f"{name}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"at,n\n2013-01-03T12:00:00Z,{number}\n")
    (tmp_path / "d" / "2013-01-03" / ".half.csv").write_text("")
    (tmp_path / "d" / "2013-01-03" / "a.csv.manifest.json").write_text('{"rows": 1}')
    reader = source(tmp_path, "d/{year}-{month}-{day}/*.csv")
    read = reader.read(day(1, 3), day(1, 3))
    assert read.table.column("n").to_pylist() == [9, 1, 2]
    assert [part.name for part in read.parts] == [
        f"d/2013-01-03/{name}.csv" for name in ("Zürich 7h", "a", "b")
    ]
    assert reader.read(day(1, 2, 2), day(1, 3)).table.num_rows == 3
    with pytest.raises(DataRejected, match=r"no file .*/d/2013-01-04/\*\.csv, needed for"):
        reader.read(day(1, 3, 2), day(1, 4))


def test_a_name_that_could_lead_elsewhere_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a\\b.csv").write_text("at,n\n2013-01-03T12:00:00Z,1\n")
    with pytest.raises(PolicyRefused, match=r"is not a name that is read"):
        source(tmp_path, "*.csv").read(day(1, 3))


def test_the_same_bytes_under_two_names_are_read_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    month_file(tmp_path, 1)
    (tmp_path / "d" / "rows_again.csv").write_bytes(month_file(tmp_path, 1).read_bytes())
    reader = source(tmp_path, "d/rows_*.csv")
    for _ in range(2):
        read = reader.read(day(1, 3))
        assert read.table.column("n").to_pylist() == [3]
        assert [(part.name, part.rows) for part in read.parts] == [
            ("d/rows_2013-01.csv", 28),
            ("d/rows_again.csv", 0),
        ]
        assert read.parts[0].sha256 == read.parts[1].sha256
    assert "d/rows_again.csv has the bytes of d/rows_2013-01.csv: read once" in caplog.text
    (tmp_path / "d" / "rows_again.csv").write_text("at,n\n2013-01-03T13:00:00Z,33\n")
    assert source(tmp_path, "d/rows_*.csv").read(day(1, 3)).table.num_rows == 2


def test_a_file_that_changes_after_its_check_is_not_taken(tmp_path: Path) -> None:
    for change in (b"at,n\n2013-01-03T12:00:00Z,4\n", b"at,n\n"):
        (tmp_path / "rows.csv").write_text("at,n\n2013-01-03T12:00:00Z,3\n")
        reader = source(tmp_path, "rows.csv")
        reader._kept = BlockCache(0)
        assert reader.read(day(1, 3)).table.num_rows == 1
        (tmp_path / "rows.csv").write_bytes(change)
        with pytest.raises(DependencyUnavailable, match="changed while it was read"):
            reader.read(day(1, 3))


def test_a_parquet_file_that_changes_after_its_check_is_not_taken(tmp_path: Path) -> None:
    for number in (1, 2):
        table = pa.table({"at": [day(1, number).start], "n": [number]})
        pq.write_table(table, tmp_path / f"{number}.parquet")
    (tmp_path / "rows.parquet").write_bytes((tmp_path / "1.parquet").read_bytes())
    reader = source(tmp_path, "rows.parquet")
    reader._kept = BlockCache(0)
    assert reader.read(day(1, 1)).table.num_rows == 1
    (tmp_path / "2.parquet").replace(tmp_path / "rows.parquet")
    with pytest.raises(DependencyUnavailable, match="changed while it was read: its footer"):
        reader.read(day(1, 1))


def test_neighbouring_windows_do_not_read_a_file_again(tmp_path: Path) -> None:
    file = month_file(tmp_path, 1)
    reader = source(tmp_path)
    reader.read(day(1, 3))
    file.unlink()
    file.touch()
    assert reader.read(day(1, 4)).table.column("n").to_pylist() == [4]


def test_memory_of_a_read_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """One day of a file of a year: what is held is that day and a block."""
    file = tmp_path / "rows.csv"
    with file.open("w") as stream:
        stream.write("at,n\n")
        for number in range(1, 29):
            stream.write(f"2013-01-{number:02}T12:00:00Z,{'9' * 15}\n" * 40_000)
    assert file.stat().st_size > 40_000_000
    reader = source(tmp_path, "rows.csv")
    reader._kept = BlockCache(0)
    before = pa.total_allocated_bytes()
    peaks = []
    read = reader._read_file

    def watched(*given: Any) -> Any:
        done = read(*given)
        peaks.append(pa.total_allocated_bytes() - before)
        return done

    reader._read_file = watched  # type: ignore[method-assign]
    assert reader.read(day(1, 3)).table.num_rows == 40_000
    assert peaks[0] < 10_000_000


@pytest.mark.parametrize("unit", ["us", "ms"])
def test_a_time_that_no_calendar_knows_is_a_bad_cell(tmp_path: Path, unit: str) -> None:
    times = pa.array([0, 10**18 // 2], pa.timestamp(unit, "UTC"))
    pq.write_table(pa.table({"at": times, "n": [1, 2]}), tmp_path / "rows.parquet")
    with pytest.raises(DataRejected, match="column 'at', row 2: "):
        source(tmp_path, "rows.parquet").read(day(1, 1))
