"""The monitoring steps on real snapshots, a real prediction log and a real ledger."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferryman.data.versions.snapshots import SnapshotEntry, SnapshotStore
from ferryman.data.windows.profile import profile_table
from ferryman.errors import DependencyUnavailable
from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import Candidate, State
from ferryman.monitoring.decisions import Decisions
from ferryman.runtime.bundle import REFERENCE, SIGNATURE, Signature
from ferryman.runtime.files import read_json, write_json
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.run_store import run_folder
from ferryman.serving.log.prediction_log import own_fields
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.spec.monitoring import MonitorSpec
from ferryman.spec.windows import Window, day_window
from ferryman.steps.contract import run_step

DAY0 = day_window(datetime(2024, 1, 10, tzinfo=UTC))
TIME = pa.timestamp("us", tz="UTC")
MONITOR = MonitorSpec.model_validate(
    {
        "quality": {"metric": "log_loss", "window": "2d", "min_labels": 50, "tolerance": 0.05},
        "drift": {"window": "2d", "min_rows": 50},
        "retrain": {"cool_down": "2d", "per_week": 1},
    }
)
ROWS = 100


class Station:
    """One installation of the model `rain`, fed by hand."""

    def __init__(self, settings: Settings, model: DeclaredModel) -> None:
        spec = model.spec.model_copy(update={"monitor": MONITOR})
        self.model = model.model_copy(update={"spec": spec})
        self.settings = settings
        self.logged: list[str] | None = None
        self._runs = 0

    def run(self, window: Window, *steps: str, **params: Any) -> dict[str, StepResult]:
        """Run steps as one new run."""
        self._runs += 1
        folder = run_folder(self.settings.runs_root, "rain", "monitoring", f"run-{self._runs}")
        results: dict[str, StepResult] = {}
        for step in steps:
            request = StepRequest(
                model="rain",
                step=step,
                run_id=f"run-{self._runs}",
                run_uri=str(folder),
                window=window,
                params=params if step == steps[-1] else {},
                spec_digest=self.model.digest,
                results=dict(results),
            )
            results[step] = run_step(request, self.model, self.settings)
        return results

    def log(
        self, day: Window, score: Callable[[int], float], version: int = 1, **more: Any
    ) -> None:
        """Log a hundred predictions of a day; rows are named by day and number."""
        random = np.random.default_rng(day.start.day)
        features = {
            "station": ["north", "south"] * (ROWS // 2),
            "sky": random.choice(["clear", "grey"], ROWS).tolist(),
            "humidity": random.normal(60 + more.get("damp", 0), 10, ROWS).tolist(),
            "clouds": random.integers(0, 9, ROWS).tolist(),
        }
        own = {
            "request_id": [f"{more.get('named', 'r')}{row}-{version}" for row in range(ROWS)],
            "entity_key": [key(day, row) for row in range(ROWS)],
            "event_time": [day.start + timedelta(minutes=row) for row in range(ROWS)],
            "model": ["rain"] * ROWS,
            "version": [version] * ROWS,
            "epoch": [version] * ROWS,
            "variant": [more.get("variant", "champion")] * ROWS,
            "propensity": [1.0] * ROWS,
            "latency": [0.001] * ROWS,
            "score": [score(row) for row in range(ROWS)],
            "logged_at": [day.end + timedelta(hours=version)] * ROWS,
        }
        table = pa.table(own, schema=pa.schema(own_fields()))
        kept = more.get("columns", features)
        for name, values in ((name, features[name]) for name in kept):
            table = table.append_column(name, pa.array(values))
        folder = self.settings.predictions_root / "rain" / f"date={day.start:%Y-%m-%d}"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / f"{version}.parquet")

    def publish(
        self, day: Window, label: Callable[[int], bool | None], of: Window | None = None
    ) -> None:
        """Publish the day's snapshot with the labels of the day before, or of another one."""
        event_day = of or day.shifted(timedelta(days=-1))
        labels = pa.table(
            {
                "entity_key": [key(event_day, row) for row in range(ROWS)],
                "event_time": pa.array(
                    [event_day.start + timedelta(minutes=row) for row in range(ROWS)], TIME
                ),
                "label": pa.array([label(row) for row in range(ROWS)], pa.bool_()),
                "known_at": pa.array(
                    [day.start + timedelta(minutes=row) for row in range(ROWS)], TIME
                ),
            }
        )
        features = labels.select(["entity_key", "event_time"])
        store = SnapshotStore(LocalObjectStore(self.settings.data_root))
        entry = SnapshotEntry(reason="test", actor="test")
        snapshot = store.write("rain", day, features, labels, entry)
        store.publish("rain", day, snapshot.id, "test")

    def release(self, version: int, cutoff: datetime, log_loss: float) -> None:
        """Make a version head, by the states that a release goes through."""
        bundle = self.settings.bundles_root / "rain" / f"{version:064x}"
        random = np.random.default_rng(0)
        table = pa.table(
            {
                "station": ["north", "south"] * 500,
                "sky": random.choice(["clear", "grey"], 1000),
                "humidity": random.normal(60, 10, 1000),
                "clouds": random.integers(0, 9, 1000),
            }
        )
        write_json(bundle / REFERENCE, profile_table(table, self.model.spec.features.columns))
        signature = Signature(features=[], entity=[], output="rained", logged=self.logged)
        write_json(bundle / SIGNATURE, signature.model_dump(mode="json"))
        candidate = Candidate(
            version=version,
            digest=f"{version:064x}",
            bundle=str(bundle),
            cutoff=cutoff.isoformat(),
            sequence=version,
            run_key=f"key-{version}",
            eval_dataset="e",
        )
        ledger = Ledger(self.settings.ledger_url)
        op = ledger.open_op(PROMOTE, "rain", candidate, "test", "test")
        base = version - 1
        ledger.advance(op.op_id, State.REGISTERED, {})
        evidence = {"outcome": "passed", "candidate": {"log_loss": log_loss}}
        ledger.advance(op.op_id, State.GATED, evidence, base_epoch=base)
        ledger.advance(op.op_id, State.STAGED, {})
        ledger.commit(op.op_id, base)


def key(day: Window, row: int) -> str:
    return f"{day.start:%Y-%m-%d}-{row}"


def day(offset: int) -> Window:
    return DAY0.shifted(timedelta(days=offset))


@pytest.fixture
def station(tmp_path: Path, rain: DeclaredModel) -> Station:
    return Station(Settings(home=tmp_path / "home"), rain)


def even(row: int) -> bool:
    return row % 2 == 0


def good(row: int) -> float:
    return 0.9 if even(row) else 0.1


def bad(row: int) -> float:
    return 1 - good(row)


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
