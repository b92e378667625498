"""Monitoring beside a candidate, and after a rollback: whose answers count, and for what."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from monitoring_world import Station, bad, day, even, good

from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import State
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.steps.drill_requests import request_prefix


@pytest.fixture
def station(tmp_path: Path, rain: DeclaredModel) -> Station:
    return Station(Settings(home=tmp_path / "home"), rain)


def test_a_shadow_answers_nobody_and_counts_nowhere(station: Station) -> None:
    station.release(1, day(0).start, log_loss=0.11)
    station.log(day(0), good)
    station.publish(day(1), even)
    station.publish(day(2), even, of=day(1))
    before = station.run(day(1), "join_labels", "monitor")
    station.log(day(0), bad, version=2, variant="shadow", damp=80)
    after = station.run(day(1), "join_labels", "monitor")
    assert after["join_labels"].outputs == before["join_labels"].outputs
    assert after["join_labels"].outputs["duplicates"] == 0
    assert after["monitor"].outputs == before["monitor"].outputs
    # An event that a shadow alone was asked about was not predicted.
    station.log(day(1), bad, version=2, variant="shadow")
    alone = station.run(day(2), "join_labels")["join_labels"].outputs
    assert (alone["predicted"], alone["unmatched"]) == (0, 100)


def test_what_a_drill_asks_itself_counts_nowhere(station: Station) -> None:
    station.release(1, day(0).start, log_loss=0.11)
    station.log(day(0), good)
    station.publish(day(1), even)
    before = station.run(day(1), "join_labels", "monitor")
    ledger = Ledger(station.settings.ledger_url)
    champion = ledger.history("rain")[-1].candidate
    bad_one = champion.model_copy(update={"version": 0, "digest": "d" * 64})
    op = ledger.open_drill("rain", bad_one, actor="ann", reason="a fire drill for the test")
    # Logged first: of two answers to one event the first counts.
    station.log(day(0), bad, version=0, damp=80, named=request_prefix(op.op_id))
    after = station.run(day(1), "join_labels", "monitor")
    assert after["join_labels"].outputs == before["join_labels"].outputs
    assert after["monitor"].outputs == before["monitor"].outputs
    # A client that only says so is a client.
    station.log(day(0), bad, version=0, damp=80, named=request_prefix("e" * 64))
    stranger = station.run(day(1), "join_labels", "monitor")
    assert stranger["join_labels"].outputs["duplicates"] == 100
    assert stranger["monitor"].outputs["drifted"] == ["humidity"]


def test_a_candidates_answers_belong_to_its_version(station: Station) -> None:
    station.release(1, day(0).start, log_loss=0.11)
    station.log(day(0), bad, version=2, variant="canary")
    station.log(day(-1), good)
    station.publish(day(0), even)
    station.publish(day(1), even)
    station.run(day(0), "join_labels")
    found = station.run(day(1), "join_labels", "monitor")
    quality: Any = found["monitor"].outputs["quality"]
    own: Any = found["monitor"].outputs["champion_quality"]
    assert (quality["labelled"], own["labelled"]) == (200, 100)
    assert own["value"] < 0.11 < quality["value"]
    rows = pq.read_table(str(found["join_labels"].outputs["joined"]))
    assert set(rows["version"].to_pylist()) == {2}


def test_columns_that_a_candidate_does_not_log_are_no_drift(station: Station) -> None:
    station.release(1, day(0).start, log_loss=0.11)
    station.logged = ["station", "clouds"]
    begin(station, 2)
    for offset in (0, 1):
        station.log(day(offset), good)
        station.log(day(offset), good, version=2, variant="canary", columns=station.logged)
    station.publish(day(1), even)
    found = station.run(day(1), "join_labels", "monitor")["monitor"]
    assert found.outputs["drifted"] == []


def begin(station: Station, version: int) -> None:
    """A candidate of the ledger that is not released."""
    with pytest.raises(Exception, match="frozen"):
        Ledger(station.settings.ledger_url).set_frozen(
            "rain", True, actor="test", reason="no release in this test"
        )
        station.release(version, day(1).start, log_loss=0.11)


def test_the_data_of_a_champion_that_was_gone_back_to_is_its_own(station: Station) -> None:
    for version in (1, 2):
        station.release(version, day(version).start, log_loss=0.11)
    ledger = Ledger(station.settings.ledger_url)
    for op in ledger.ops("rain"):
        ledger.advance(op.op_id, State.PROJECTED, {})
        ledger.advance(op.op_id, State.DONE, {})
    target = ledger.good_versions("rain")[0]
    op = ledger.open_rollback("rain", target, actor="test", reason="a test goes back")
    ledger.advance(op.op_id, State.STAGED, {}, base_epoch=op.base_epoch)
    ledger.commit(op.op_id, op.base_epoch)
    station.log(day(0), good)
    station.publish(day(1), even)
    found: Any = station.run(day(1), "join_labels", "monitor")["monitor"].outputs["champion"]
    assert (found["version"], found["epoch"]) == (1, 3)
    assert found["cutoff"] == "2024-01-11T00:00:00Z"
    assert found["gate_value"] == 0.11
