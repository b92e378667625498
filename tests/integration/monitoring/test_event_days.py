"""Days of events are restated as labels come, in whatever order, and end at the batch truth."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monitoring_world import Station, day, even, good

from ferryman.evaluation.measures import make_measures
from ferryman.monitoring.quality_windows import EventDays
from ferryman.runtime.files import read_json
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel


@pytest.fixture
def station(tmp_path: Path, rain: DeclaredModel) -> Station:
    return Station(Settings(home=tmp_path / "home"), rain)


def events(station: Station, offset: int) -> dict[str, Any]:
    """The night of a day, and what its report says of each event day."""
    found = station.run(day(offset), "join_labels", "monitor")["monitor"]
    report = read_json(Path(str(found.outputs["report"])))
    return {one["day"]: one for one in report["events"]}


def scored(row: int) -> float:
    return float(np.random.default_rng(row).uniform(0.05, 0.95))


@pytest.mark.parametrize("seed", [1, 2])
def test_labels_in_any_order_end_at_the_batch_truth(station: Station, seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.random(100) < [scored(row) for row in range(100)]
    nights = random.integers(1, 4, 100)  # in which night each label comes
    station.log(day(0), scored)
    name, coverages = "2024-01-10", []
    for night in (1, 2, 3):
        # Some come twice.
        known = random.permutation(np.flatnonzero(nights < night))[:5]
        came = random.permutation([*np.flatnonzero(nights == night), *known]).tolist()
        station.publish(day(night), lambda row: bool(truth[row]), of=day(0), rows=came)
        seen = events(station, night)[name]
        coverages.append(seen["coverage"])
    assert coverages == pytest.approx([(nights <= night).mean() for night in (1, 2, 3)])
    everything = make_measures("binary").score(truth, [scored(row) for row in range(100)])
    assert seen["value"] == everything["log_loss"]
    assert (seen["labelled"], seen["revision"]) == (100, 3)
    assert [one["coverage"] for one in seen["revisions"]] == coverages


def test_a_day_below_the_declared_count_has_a_reason_and_no_figure(station: Station) -> None:
    station.log(day(0), good)
    station.publish(day(1), lambda row: even(row) if row < 12 else None, of=day(0))
    seen = events(station, 1)["2024-01-10"]
    assert (seen["value"], seen["low"], seen["high"]) == (None, None, None)
    assert seen["text"] == "not enough labels (n=12 < 50)"
    # Of every event it is known by now that no label comes, or which.
    assert (seen["settled"], seen["mature"]) == (100, True)


def test_a_day_that_is_not_due_is_counted_from_the_log(station: Station) -> None:
    station.log(day(0), good)
    station.log(day(1), good)
    station.publish(day(1), even)
    seen = events(station, 1)
    assert {name: one["coverage"] for name, one in seen.items()} == {
        "2024-01-10": 1.0,
        "2024-01-11": 0.0,
    }
    assert seen["2024-01-11"]["predicted"] == 100
    assert seen["2024-01-11"]["mature"] is False


def test_a_night_that_is_repeated_says_nothing_new(station: Station) -> None:
    station.log(day(0), good)
    station.publish(day(1), even)
    first = events(station, 1)
    assert events(station, 1) == first
    store = EventDays(station.settings.monitoring_root)
    assert len(store.said("rain", "2024-01-10", day(1).end)) == 1
    # Nothing came since: the next night leaves what was said.
    station.publish(day(2), even, of=day(1))
    assert events(station, 2)["2024-01-10"]["revision"] == 1


def test_an_older_night_that_is_run_again_sees_what_was_known_then(station: Station) -> None:
    station.log(day(0), good)
    station.publish(day(1), lambda row: not even(row))
    before = events(station, 1)["2024-01-10"]
    station.publish(day(2), even, of=day(0))
    after = events(station, 2)["2024-01-10"]
    assert after["value"] < before["value"]
    assert events(station, 1)["2024-01-10"] == before
    assert events(station, 2)["2024-01-10"] == after


def test_after_its_time_a_day_is_final_whatever_is_missing(station: Station) -> None:
    monitor = station.model.spec.monitor
    quality = monitor.quality.model_copy(update={"matures": timedelta(days=2)})
    spec = station.model.spec.model_copy(
        update={"monitor": monitor.model_copy(update={"quality": quality})}
    )
    station.model = station.model.model_copy(update={"spec": spec})
    station.log(day(0), good)
    for night in (1, 2, 3):
        station.publish(day(night), even, of=day(-5))
    assert events(station, 1)["2024-01-10"]["mature"] is False
    assert events(station, 2)["2024-01-10"]["mature"] is True
    assert "2024-01-10" not in events(station, 3)
