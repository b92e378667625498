"""The monitoring steps on real snapshots, a real prediction log and a real ledger."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from monitoring_world import Station, bad, day, even, good

from ferryman.errors import DependencyUnavailable
from ferryman.monitoring.decisions import Decisions
from ferryman.runtime.files import read_json
from ferryman.runtime.messages import StepResult
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel


@pytest.fixture
def station(tmp_path: Path, rain: DeclaredModel) -> Station:
    return Station(Settings(home=tmp_path / "home"), rain)


def test_a_window_is_joined_once_however_often_it_is_run(station: Station) -> None:
    station.log(day(0), good)
    station.log(day(0), bad, version=2)  # the same events, scored again later
    station.publish(day(1), lambda row: None if row < 10 else even(row))
    first = station.run(day(1), "join_labels")["join_labels"].outputs
    assert {name: first[name] for name in ("labels", "matched", "unmatched", "unlabelled")} == {
        "labels": 100,
        "matched": 90,
        "unmatched": 0,
        "unlabelled": 10,
    }
    assert first["duplicates"] == 100
    again = station.run(day(1), "join_labels")["join_labels"].outputs
    assert again == first
    assert set(pq.read_table(str(first["joined"]))["version"].to_pylist()) == {1}


def test_a_late_correction_counts_once_in_the_quality(station: Station) -> None:
    station.log(day(0), good)
    station.publish(day(1), lambda row: not even(row))
    wrong = station.run(day(1), "join_labels", "monitor")["monitor"].metrics
    station.publish(day(2), even, of=day(0))
    right = station.run(day(2), "join_labels", "monitor")["monitor"].metrics
    assert wrong["log_loss"] == pytest.approx(-np.log(0.1))
    assert right["log_loss"] == pytest.approx(-np.log(0.9))
    assert right["labelled"] == 100


def test_a_window_without_a_snapshot_may_be_tried_again(station: Station) -> None:
    with pytest.raises(DependencyUnavailable, match="no published snapshot"):
        station.run(day(1), "join_labels")


def test_nothing_predicted_and_nothing_served_is_no_reason(station: Station) -> None:
    station.publish(day(1), even)
    found = station.run(day(1), "join_labels", "monitor", "decide_retrain")
    assert found["join_labels"].outputs["unmatched"] == 100
    assert found["monitor"].metrics["log_loss"] is None
    assert found["monitor"].metrics["coverage"] is None
    assert found["monitor"].outputs["champion"] is None
    assert found["decide_retrain"].verdict == "not_needed"
    assert found["decide_retrain"].outputs["reason"] == "nothing is served yet"


def live(station: Station, score: Callable[[int], float], damp: float = 0) -> dict[str, StepResult]:
    """A champion of the gate's figure 0.1 serves two days; the second one ends."""
    station.release(1, day(0).start, log_loss=0.11)
    for offset in (0, 1):
        station.log(day(offset), score, damp=damp)
        station.publish(day(offset + 1), even)
    station.run(day(1), "join_labels")
    return station.run(day(2), "join_labels", "monitor", "decide_retrain")


def test_a_good_champion_is_left_alone(station: Station) -> None:
    found = live(station, good)
    assert found["monitor"].outputs["champion"] == {
        "version": 1,
        "epoch": 1,
        "cutoff": "2024-01-10T00:00:00Z",
        "gate_value": 0.11,
    }
    assert found["monitor"].outputs["drifted"] == []
    decision = found["decide_retrain"]
    assert (decision.verdict, decision.outputs["retrain"]) == ("not_needed", False)


def test_a_fall_in_quality_asks_for_a_retrain_up_to_the_windows_end(station: Station) -> None:
    found = live(station, bad)
    decision = found["decide_retrain"]
    assert decision.verdict == "done"
    assert decision.outputs["retrain"] is True
    assert decision.outputs["causes"][0] == "quality"
    assert decision.outputs["cutoff"] == "2024-01-13T00:00:00Z"
    assert len(str(decision.outputs["reason"])) <= 200
    report = read_json(Path(str(found["monitor"].outputs["report"])))
    assert report["champion_quality"]["value"] == pytest.approx(-np.log(0.1))
    assert len(report["columns"]) == 4


def test_drifted_inputs_are_named(station: Station) -> None:
    found = live(station, good, damp=40)
    assert found["monitor"].outputs["drifted"] == ["humidity"]
    assert found["decide_retrain"].outputs["causes"] == ["drift"]
    assert found["decide_retrain"].outputs["retrain"] is True


def test_columns_that_are_not_logged_are_not_watched(station: Station) -> None:
    station.logged = ["station", "clouds"]
    found = live(station, good, damp=40)["monitor"]
    assert found.outputs["drifted"] == []
    assert found.text.endswith("0 of 2 columns drifted")


def test_what_an_older_version_did_is_no_evidence_against_the_new_one(station: Station) -> None:
    live(station, bad)
    station.release(2, day(2).start, log_loss=0.11)
    found = station.run(day(2), "join_labels", "monitor", "decide_retrain")
    assert found["monitor"].metrics["log_loss"] == pytest.approx(-np.log(0.1))
    assert found["monitor"].outputs["champion_quality"]["value"] is None
    assert "quality" not in found["decide_retrain"].outputs["causes"]


def test_a_backfill_never_asks_and_leaves_no_decision(station: Station) -> None:
    live(station, bad)
    root = station.settings.monitoring_root
    before = Decisions(root).read("rain")
    steps = ("join_labels", "monitor", "decide_retrain")
    backfilled = station.run(day(1), *steps, backfill=True)["decide_retrain"]
    assert backfilled.verdict == "not_needed"
    assert Decisions(root).read("rain") == before


def test_deciding_a_window_again_keeps_its_one_decision(station: Station) -> None:
    first = live(station, bad)["decide_retrain"].outputs
    again = station.run(day(2), "join_labels", "monitor", "decide_retrain")["decide_retrain"]
    assert again.outputs == first
    stored = Decisions(station.settings.monitoring_root).read("rain")
    assert [decision.retrain for decision in stored] == [True]
