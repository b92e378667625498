"""Days of flights that are refused: whole files, and rows or queries that are not as declared."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.errors import ExitCode, FerrymanError, exit_code_of
from ferryman.runtime.local_object_store import LocalObjectStore

if TYPE_CHECKING:
    from conftest import Installation

DAY = "2013-01-02"
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


def on_flights(change: Callable[[Any], Any], day: str = DAY) -> Damage:
    return lambda installation: installation.rewrite(f"days/flights_{day}.parquet", change)


def retype(
    name: str, kind: Any, row: int | None = None, value: object = None, day: str = DAY
) -> Damage:
    """Cast a column, and set one of its cells."""

    def change(table: Any) -> Any:
        values = table.column(name).cast(kind).to_pylist()
        if row is not None:
            values[row - 1] = value
        place = table.column_names.index(name)
        return table.set_column(place, name, pa.array(values, kind))

    return on_flights(change, day)


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
    retype("distance", pa.float64(), 7, 0.5, day="2013-01-04")(begun)
    with pytest.raises(FerrymanError, match=r"row 7: 0\.5 is no whole number"):
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
