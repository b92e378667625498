"""What monitor says of drift from night to night: told once, restated, told anew of a champion."""

from pathlib import Path
from typing import Any

import pytest
from test_monitoring_steps import Station, day, even, good

from ferryman.runtime.files import read_json
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel


@pytest.fixture
def station(tmp_path: Path, rain: DeclaredModel) -> Station:
    return Station(Settings(home=tmp_path / "home"), rain)


def test_a_lasting_change_is_one_alarm_until_the_champion_changes(station: Station) -> None:
    station.release(1, day(0).start, log_loss=0.11)
    for offset in (0, 1):
        station.log(day(offset), good, damp=40)
        station.publish(day(offset + 1), even)
    station.publish(day(0), even, of=day(-1))
    first = drift(station, 1)
    assert first["alarm"] is True
    assert [(f["kind"], f["name"], f["outcome"]) for f in first["findings"]] == [
        ("column", "humidity", "alarm")
    ]
    assert first["findings"][0]["text"].startswith("humidity: mean 9")
    assert "drift alarm: humidity" in first["text"]
    # Run again the night says the same; the next one knows that it was told.
    assert drift(station, 1) == first
    second = drift(station, 2)
    assert (second["alarm"], [f["outcome"] for f in second["findings"]]) == (False, ["still"])
    station.release(2, day(2).start, log_loss=0.11)
    assert drift(station, 2)["alarm"] is True


def drift(station: Station, offset: int) -> dict[str, Any]:
    """The report's word of drift of one night."""
    found = station.run(day(offset), "join_labels", "monitor")["monitor"]
    report = read_json(Path(str(found.outputs["report"])))
    assert report["drift"] == found.outputs["drift"]
    assert "joint previous joint" in report["drift_unjudged"]
    named: dict[str, Any] = report["drift"]
    return named
