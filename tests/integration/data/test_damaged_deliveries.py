"""Issue 2, point 4: a damaged window stops at ingest, and the text names column and row."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ferryman.data.snapshots import SnapshotStore
from ferryman.errors import ExitCode, FerrymanError, exit_code_of
from ferryman.runtime.local_object_store import LocalObjectStore

if TYPE_CHECKING:
    from conftest import Installation

GOOD_DAY, DAY = "2013-01-01", "2013-01-02"
Damage = Callable[["Installation"], None]


def refused(installation: "Installation", what: str = "ingest") -> FerrymanError:
    """Run the damaged day after a good one; nothing of it may remain."""
    before = installation.data_files()
    with pytest.raises(FerrymanError) as caught:
        installation.run(what, DAY)
    assert installation.data_files() == before
    store = SnapshotStore(LocalObjectStore(installation.settings.data_root))
    assert [s.window.start.day for s in store.published("flights")] == [1]
    return caught.value


def csv(change: Callable[[bytes], bytes]) -> Damage:
    def damage(installation: "Installation") -> None:
        installation.use_daily_csv(GOOD_DAY, DAY)
        file = installation.raw / "daily" / f"{DAY}.csv"
        whole = file.read_bytes()
        assert change(whole) != whole
        file.write_bytes(change(whole))

    return damage


def cell(line: int, column: str, value: str) -> Damage:
    """Replace one cell of the day's CSV file."""

    def change(whole: bytes) -> bytes:
        lines = whole.decode().splitlines()
        fields = lines[line - 1].split(",")
        fields[lines[0].replace('"', "").split(",").index(column)] = value
        lines[line - 1] = ",".join(fields)
        return ("\n".join(lines) + "\n").encode()

    return csv(change)


def without_column(whole: bytes) -> bytes:
    lines = [line.split(",") for line in whole.decode().splitlines()]
    return "".join(",".join(fields[:15] + fields[16:]) + "\n" for fields in lines).encode()


def extra_field(whole: bytes) -> bytes:
    head, _, rest = whole.partition(b"\n")
    return head + b"\n" + rest.replace(b"\n", b",1\n")


def header(change: Callable[[bytes], bytes]) -> Damage:
    def on_first_line(whole: bytes) -> bytes:
        head, _, rest = whole.partition(b"\n")
        return change(head) + b"\n" + rest

    return csv(on_first_line)


CSV_DAMAGES = {
    "cut row": (csv(lambda whole: whole[:-30]), ["line ", "does not end with a newline"]),
    "cut row, whole line": (
        csv(lambda whole: whole[:-30].rpartition(b",")[0] + b"\n"),
        ["fields, header has 19"],
    ),
    "extra field": (csv(extra_field), ["line 2 has 20 fields, header has 19"]),
    "missing column": (csv(without_column), ["line 1", "column 'distance' is missing"]),
    "renamed column": (
        header(lambda head: head.replace(b"tailnum", b"tail_num")),
        ["column 'tailnum' is missing (renamed to 'tail_num'?)"],
    ),
    "column twice": (
        header(
            lambda head: head.replace(b"arr_time", b"dep_time", 1).replace(b"sched_dep_time", b"x")
        ),
        ["column 'dep_time' stands twice"],
    ),
    "text in a number": (cell(5, "distance", "far"), ["column 'distance'", "line 5", "'far'"]),
    "NA in a number": (cell(5, "distance", "NA"), ["column 'distance'", "line 5", "'NA'"]),
    "overflow": (cell(6, "minute", "9" * 25), ["column 'minute'", "line 6"]),
    "null": (cell(7, "origin", ""), ["column 'origin'", "line 7", "not nullable"]),
    "naive time": (
        cell(8, "time_hour", "2013-01-02 05:00:00"),
        ["column 'time_hour'", "line 8", "time with a zone"],
    ),
    "bad outcome": (cell(9, "arr_delay", "1e400"), ["column 'arr_delay'", "line 9"]),
    "nul byte": (csv(lambda whole: whole[:500] + b"\0" + whole[500:]), ["byte 501, line", "NUL"]),
    "latin-1": (csv(lambda whole: whole[:500] + b"\xe9" + whole[500:]), ["byte 501", "UTF-8"]),
    "utf-16": (csv(lambda whole: whole.decode().encode("utf-16")), ["UTF-16"]),
    "semicolons": (csv(lambda whole: whole.replace(b",", b";")), ["separated by ';'"]),
    "empty": (csv(lambda whole: whole[:0]), ["empty (0 bytes)"]),
    "header only": (csv(lambda whole: whole.partition(b"\n")[0] + b"\n"), ["no rows"]),
    "duplicate row": (
        csv(lambda whole: whole + whole.splitlines(keepends=True)[-1]),
        ["stand more than once", "|2013-01-0"],
    ),
}


@pytest.mark.parametrize("name", CSV_DAMAGES)
def test_a_damaged_csv(begun: "Installation", name: str) -> None:
    damage, words = CSV_DAMAGES[name]
    damage(begun)
    error = refused(begun)
    assert exit_code_of(error) == ExitCode.DATA
    for word in words:
        assert word in error.text
    assert len(error.text) < 1_000


def on_flights(change: Callable[[Any], Any]) -> Damage:
    return lambda installation: installation.rewrite("flights_2013-01.parquet", change)


def retype(name: str, kind: Any, row: int | None = None, value: object = None) -> Damage:
    """Cast a column, and set one of its cells."""

    def change(table: Any) -> Any:
        values = table.column(name).cast(kind).to_pylist()
        if row is not None:
            values[row - 1] = value
        place = table.column_names.index(name)
        return table.set_column(place, name, pa.array(values, kind))

    return on_flights(change)


def cut(installation: "Installation") -> None:
    file = installation.raw / "flights_2013-01.parquet"
    file.write_bytes(file.read_bytes()[:-1_000])


def day_only(installation: "Installation") -> None:
    def change(table: Any) -> Any:
        day = pc.day(table.column("time_hour"))
        return table.filter(pc.equal(day, 1))

    installation.rewrite("flights_2013-01.parquet", change)


def gone(installation: "Installation") -> None:
    (installation.raw / "weather_2013-01.parquet").unlink()


PARQUET_DAMAGES = {
    "cut": (cut, ["flights_2013-01.parquet", "truncated"]),
    "missing column": (
        on_flights(lambda table: table.drop_columns(["distance"])),
        ["column 'distance' is missing"],
    ),
    "extra column": (
        on_flights(lambda table: table.append_column("pilot", table.column("carrier"))),
        ["column 'pilot' is not declared"],
    ),
    "text for numbers": (
        retype("distance", pa.string(), 900, "far"),
        ["column 'distance' is stored as string, but is declared integer", "row 900", "'far'"],
    ),
    "fractions for whole numbers": (
        retype("distance", pa.float64(), 900, 7.5),
        ["column 'distance', row 900: 7.5"],
    ),
    "naive times": (
        retype("time_hour", pa.timestamp("us")),
        ["column 'time_hour'", "without a time zone", "row 1"],
    ),
    "null": (retype("carrier", pa.string(), 900), ["column 'carrier', row 900", "not nullable"]),
    "no rows of the day": (day_only, ["source 'flights' has no row in", "2013-01-02"]),
    "missing file": (gone, ["no file", "weather_2013-01.parquet"]),
}


@pytest.mark.parametrize("name", PARQUET_DAMAGES)
def test_a_damaged_parquet(begun: "Installation", name: str) -> None:
    damage, words = PARQUET_DAMAGES[name]
    damage(begun)
    error = refused(begun)
    assert exit_code_of(error) == ExitCode.DATA
    for word in words:
        assert word in error.text
    assert len(error.text) < 1_000


def test_fractions_that_are_whole_numbers_are_no_damage(installation: "Installation") -> None:
    installation.run("ingest", DAY)
    retype("distance", pa.float64())(installation)
    ingested, _ = installation.run("ingest", DAY)
    assert ingested.metrics["new_snapshots"] == 0


def test_a_late_known_feature(begun: "Installation") -> None:
    """Weather of an hour that is over only after the departure."""
    query = begun.folder / "features.sql"
    text = query.read_text()
    late = text.replace(
        "reports.known_at <= departure_hours.time_hour",
        "reports.known_at <= departure_hours.time_hour + INTERVAL 3 HOUR",
    )
    assert late != text
    query.write_text(late)
    error = refused(begun)
    assert exit_code_of(error) == ExitCode.GATE
    assert error.text.startswith("suspiciously good: ")
    assert "feature 'temp' of row 1 (" in error.text
    assert "became known at 2013-01-02T" in error.text
    assert "column 'weather_known_at'" in error.text


def test_an_outcome_as_a_feature(begun: "Installation") -> None:
    query = begun.folder / "features.sql"
    lines = query.read_text().splitlines()
    line = next(n for n, text in enumerate(lines) if text.strip() == "schedule.distance,")
    lines[line] = "    schedule.dep_delay AS distance,"
    query.write_text("\n".join(lines) + "\n")
    error = refused(begun)
    assert exit_code_of(error) == ExitCode.SPEC
    assert f"features.sql:{line + 1}:14: column 'dep_delay' of source 'flights'" in error.text


def test_one_bad_day_of_a_range_publishes_none_of_the_others(begun: "Installation") -> None:
    store = SnapshotStore(LocalObjectStore(begun.settings.data_root))
    before = [s.id for s in store.published("flights")]
    times = pq.read_table(begun.raw / "flights_2013-01.parquet").column("time_hour")
    row = next(n for n, time in enumerate(times.to_pylist()) if time.day == 4) + 1
    retype("distance", pa.float64(), row, 0.5)(begun)
    with pytest.raises(FerrymanError, match=f"column 'distance', row {row}"):
        begun.run("ingest", "2013-01-02", 4)
    assert [s.id for s in store.published("flights")] == before


def test_a_failed_expectation_publishes_nothing(begun: "Installation") -> None:

    def freeze(table: Any) -> Any:
        place = table.column_names.index("temp")
        cold = pc.if_else(pc.equal(table.column("hour"), 9), -400.0, table.column("temp"))
        return table.set_column(place, "temp", cold)

    begun.rewrite("weather_2013-01.parquet", freeze)
    with pytest.raises(FerrymanError) as caught:
        begun.run("ingest", "2013-01-02", 2)
    assert exit_code_of(caught.value) == ExitCode.DATA
    assert "column 'temp' fails ExpectColumnValuesToBeBetween" in caught.value.text
    assert "window 2013-01-02" in caught.value.text
    assert " has -400.0" in caught.value.text
    assert "|2013-01-02T" in caught.value.text
    store = SnapshotStore(LocalObjectStore(begun.settings.data_root))
    assert [s.window.start.day for s in store.published("flights")] == [1]


def test_a_window_of_half_a_day_is_no_window(begun: "Installation") -> None:
    with pytest.raises(FerrymanError, match="is not midnight UTC") as caught:
        begun.run("ingest", "2013-01-02T12:00:00")
    assert exit_code_of(caught.value) == ExitCode.SPEC


def test_a_typo_in_the_expectations_has_a_line(begun: "Installation") -> None:
    file = begun.folder / "expectations.yaml"
    text = file.read_text()
    line = next(n for n, row in enumerate(text.splitlines(), 1) if "column: humid," in row)
    file.write_text(text.replace("column: humid,", "column: humit,"))
    with pytest.raises(FerrymanError, match=f"{file}:{line}: .*did you mean 'humid'") as caught:
        begun.run("ingest", DAY)
    assert exit_code_of(caught.value) == ExitCode.SPEC
    store = SnapshotStore(LocalObjectStore(begun.settings.data_root))
    assert [s.window.start.day for s in store.published("flights")] == [1]
