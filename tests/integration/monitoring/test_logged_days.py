"""Days of the prediction log are read once, again when their files change, and never otherwise."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from monitoring_world import DAY0, Station, day, even, good

from ferryman.errors import IntegrityBroken
from ferryman.monitoring.logged_days import LoggedDays, summarise
from ferryman.profiles.column_profile import profile_json, read_profile
from ferryman.profiles.number_profile import NumberProfile
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.messages import StepRequest
from ferryman.serving.log.prediction_log import stamp_of
from ferryman.serving.log.upkeep import compact
from ferryman.settings import Settings
from ferryman.spec.data import FeatureSpec
from ferryman.spec.model import DeclaredModel
from ferryman.spec.windows import Window
from ferryman.steps.contract import StepContext, StepParams
from ferryman.steps.logged_days import logged_days

WEEK = Window(start=DAY0.start, end=DAY0.start + timedelta(days=3))


@pytest.fixture
def station(tmp_path: Path, rain: DeclaredModel) -> Station:
    found = Station(Settings(home=tmp_path / "home"), rain)
    for offset in range(3):
        found.log(day(offset), good)
    return found


def look(
    station: Station,
    span: Window = WEEK,
    named: Mapping[str, frozenset[str]] | None = None,
    *,
    remember: bool = True,
) -> LoggedDays:
    request = StepRequest(
        model="rain",
        step="monitor",
        run_id="r",
        run_uri=str(station.settings.runs_root),
        window=DAY0,
        params={},
        spec_digest=station.model.digest,
        results={},
    )
    connections = DeclaredConnections(station.settings)
    context = StepContext(request, station.model, station.settings, StepParams(), connections)
    columns = station.model.spec.features.columns
    return logged_days(context, span, columns, named or {}, remember=remember)


def as_told(days: LoggedDays) -> dict[str, object]:
    return {name: profile_json(profile) for name, profile in days.profiles().items()}


def files(station: Station, offset: int) -> list[Path]:
    folder = station.settings.predictions_root / "rain" / f"date={day(offset).start:%Y-%m-%d}"
    return sorted(folder.glob("*.parquet"))


def spoil_rows(file: Path) -> None:
    """What is told of the file stays legible, its rows do not."""
    content = bytearray(file.read_bytes())
    content[4:600] = bytes(596)
    file.write_bytes(content)


def test_a_remembered_day_says_what_its_rows_say_and_is_not_read_again(station: Station) -> None:
    of_rows = look(station, remember=False)
    first = look(station)
    for offset in range(3):
        spoil_rows(files(station, offset)[0])
    with pytest.raises(IntegrityBroken):
        look(station, remember=False)
    again = look(station)
    assert as_told(of_rows) == as_told(first) == as_told(again)
    assert profile_json(again.scores(1)["2024-01-10"]) == profile_json(
        of_rows.scores(1)["2024-01-10"]
    )
    assert (again.count, again.versions, again.scores(2)) == (300, {1}, {})
    assert again.rows(["2024-01-11"]).equals(of_rows.rows(["2024-01-11"]))


def test_a_day_is_no_other_when_it_is_read_again() -> None:
    """What is kept of numbers is rounded: a night and its restatement must see the same."""
    random, rows = np.random.default_rng(3), 384
    table = pa.table(
        {
            "event_time": pa.array([day(0).start] * rows, pa.timestamp("us", tz="UTC")),
            "version": [1] * rows,
            "score": random.random(rows),
            "humidity": random.normal(60, 15, rows),
        }
    )
    columns = {"humidity": FeatureSpec(type="number")}
    fresh = summarise(f"{day(0).start:%Y-%m-%d}", table, columns, {}, 100).versions[1]
    again = read_profile(profile_json(fresh))
    levels = np.linspace(20, 100, 400)
    for name in ("humidity", "score"):
        one, other = fresh[name], again[name]
        assert isinstance(one, NumberProfile)
        assert isinstance(other, NumberProfile)
        assert np.array_equal(one.sketch.shares_below(levels), other.sketch.shares_below(levels))


def test_a_day_with_a_further_file_is_restated_and_the_others_are_not_read(
    station: Station,
) -> None:
    look(station)
    spoil_rows(files(station, 0)[0])
    station.log(day(1), good, version=2)
    found = look(station)
    assert (found.count, found.versions) == (400, {1, 2})
    assert as_told(found.without([2])) == as_told(look(station).without([2]))
    assert found.without([2]).count == 300
    assert set(found.without([2]).rows(["2024-01-11"])["version"].to_pylist()) == {1}


def stamped(file: Path, moment: datetime) -> None:
    name = f"{int(moment.timestamp() * 10**9)}-{file.stem}-0.parquet"
    assert stamp_of(name)
    file.rename(file.with_name(name))


def test_files_that_were_merged_are_the_same_rows(station: Station) -> None:
    station.log(day(1), good, version=2)
    for file in files(station, 1):
        stamped(file, day(2).start)
    first = look(station)
    store = LocalObjectStore(station.settings.predictions_root)
    assert compact(store, "rain", datetime(2024, 2, 1, tzinfo=UTC)) == 2
    (merged,) = files(station, 1)
    spoil_rows(merged)
    assert as_told(look(station)) == as_told(first)
    # A file that joins the merged one is rows that were not read.
    station.log(day(1), good, version=3)
    with pytest.raises(IntegrityBroken):
        look(station)


def test_a_day_whose_rows_went_is_restated(station: Station) -> None:
    station.log(day(1), good, version=2)
    assert look(station).count == 400
    files(station, 1)[0].unlink()
    assert look(station).count == 300
    files(station, 1)[0].unlink()
    found = look(station)
    assert (found.count, [one.day for one in found.days]) == (200, ["2024-01-10", "2024-01-12"])


def test_a_part_of_a_day_has_the_rows_of_that_part(station: Station) -> None:
    half = Window(start=DAY0.start, end=DAY0.start + timedelta(minutes=30))
    assert look(station, half).count == 30
    assert look(station).count == 300
    assert look(station, half).count == 30


def test_a_damaged_memory_is_made_anew_and_an_old_one_forgotten(station: Station) -> None:
    first = look(station)
    folder = station.settings.monitoring_root / "rain" / "logged_days"
    (folder / "2024-01-11.parquet").write_bytes(b"PAR1")
    (folder / "2023-11-01.parquet").write_bytes(b"PAR1")
    assert as_told(look(station)) == as_told(first)
    assert sorted(file.stem for file in folder.iterdir()) == [
        "2024-01-10",
        "2024-01-11",
        "2024-01-12",
    ]


def test_a_rare_value_is_counted_by_name_also_when_it_is_asked_for_later(
    station: Station,
) -> None:
    (file,) = files(station, 0)
    table = pq.read_table(file, partitioning=None)
    words = [f"w{row // 2:03}" if even(row // 2) else f"v{row:03}" for row in range(100)]
    wide = pa.concat_tables([table] * 2).set_column(
        table.schema.get_field_index("station"),
        "station",
        pa.array(words + [f"u{row:03}" for row in range(100)]),
    )
    pq.write_table(wide, file)
    assert "v099" not in look(station).profiles()["2024-01-10"]["station"].as_json()["top"]
    named = {"station": frozenset({"v099"})}
    assert look(station, named=named).profiles()["2024-01-10"]["station"].as_json()["top"]["v099"]
