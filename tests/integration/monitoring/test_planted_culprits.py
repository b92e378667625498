"""Culprits planted in the real days of `flights`: a unit, a commit, one carrier; a quiet night."""

import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from flights_world import MODEL, FlightsWorld, at
from rollback_world import alert_channel

from ferryman.runtime.files import read_json

CUTOFF, BREAK = at("2013-09-20"), at("2013-10-01")
DAY = timedelta(days=1)
MEMORY, LOOKBACK = 36, 29  # days: of a training, and of its first day's features
MOST_NIGHTS = 5

pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")


class Base(NamedTuple):
    """The installation on the eve of the break, what its quiet nights said, and all alerts."""

    world: FlightsWorld
    quiet: list[Any]
    alerts: list[dict[str, Any]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    """A champion that has answered eleven days, two nights of which were watched."""
    folder = tmp_path_factory.mktemp("flights") / "base"
    with alert_channel() as (address, alerts):
        world = FlightsWorld.made(
            folder, address, CUTOFF - (MEMORY + LOOKBACK) * DAY, BREAK + MOST_NIGHTS * DAY
        )
        served = (BREAK - CUTOFF).days
        world.run("ingest", CUTOFF - MEMORY * DAY, MEMORY + served)
        with world.served():
            world.release(CUTOFF)
            for step in ("score", "join_labels"):
                world.run(step, CUTOFF, served)
            nights = [world.run("monitor", BREAK - days * DAY) for days in (5, 1)]
        yield Base(world, [*(one.outputs["diagnosis"] for one in nights), *alerts], alerts)


def first_named(base: Base, folder: Path, plant: Callable[[FlightsWorld], None]) -> Any:
    """Live on from the break until an alert names a culprit: all that is kept of it.

    The autumn is calm, which may alarm by itself; then nothing is named.
    """
    world = base.world.copied(folder / "world")
    plant(world)
    with world.served():
        for night in range(MOST_NIGHTS):
            before = len(base.alerts)
            result = world.live(BREAK + night * DAY)
            titles = [told["title"] for told in base.alerts[before:]]
            assert titles == [one for one in [result.outputs["diagnosis"]] if one]
            if titles and base.alerts[-1]["culprits"]:
                break
    told = base.alerts[-1]
    sys.stdout.write(f"\n{told['title']}\n{told['text']}\n")
    assert len(told["text"].splitlines()) <= 6
    return read_json(Path(told["diagnosis"]))


def since_the_break(column: str, change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A delivery whose column is changed; `change` is given the whole table."""

    def made(table: Any) -> Any:
        place = table.schema.get_field_index(column)
        values = pc.cast(change(table), table.schema.field(column).type, safe=False)
        return table.set_column(place, column, values)

    return made


def deliver(world: FlightsWorld, change: Callable[[Any], Any]) -> None:
    """Change the flights of every day from the break on."""
    for number in range(MOST_NIGHTS):
        day: datetime = BREAK + number * DAY
        world.rewrite(f"days/flights_{day:%Y-%m-%d}.parquet", change)


def test_a_quiet_night_names_nothing_and_tells_nobody(base: Base) -> None:
    assert base.quiet == [None, None]


def test_distances_in_kilometres_are_named(base: Base, tmp_path: Path) -> None:
    def kilometres(table: Any) -> Any:
        return pc.multiply(pc.cast(table["distance"], pa.float64()), 1.609344)

    kept = first_named(
        base, tmp_path, lambda world: deliver(world, since_the_break("distance", kilometres))
    )
    first = kept["culprits"][0]
    assert (first["kind"], first["name"]) == ("column", "column distance")
    assert (first["facts"]["unit"], first["facts"]["factor"]) == ("miles to km", 1.609344)


def test_a_commit_that_spoils_a_query_is_named(base: Base, tmp_path: Path) -> None:
    declared = "schedule.hour * 60 + schedule.minute AS departure_minute"
    commits = []

    def by_the_hour(world: FlightsWorld) -> None:
        file = world.settings.zoo / MODEL / "features.sql"
        assert declared in file.read_text()
        file.write_text(file.read_text().replace(declared, "schedule.hour AS departure_minute"))
        commits.append(world.commit("Departures by the hour"))

    kept = first_named(base, tmp_path, by_the_hour)
    first, second = kept["culprits"][:2]
    assert (first["kind"], first["facts"]["commits"]) == ("code", commits)
    assert "'Departures by the hour' by Ann changed features.sql" in first["text"]
    assert first["remedy"].startswith(f"git revert {commits[0][:12]}")
    assert second["name"] == "column departure_minute"


def test_a_carrier_whose_clock_is_an_hour_off_is_named(base: Base, tmp_path: Path) -> None:
    def an_hour_late(table: Any) -> Any:
        delay = table["arr_delay"]
        return pc.if_else(pc.equal(table["carrier"], "UA"), pc.add(delay, 60), delay)

    kept = first_named(
        base, tmp_path, lambda world: deliver(world, since_the_break("arr_delay", an_hour_late))
    )
    first = kept["culprits"][0]
    assert (first["kind"], first["name"]) == ("slice", "slice carrier=UA")
    assert first["facts"]["share"] > 0.8
