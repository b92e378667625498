"""A model whose task is declared anew: what was logged and labelled before is no evidence."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from monitoring_world import MONITOR, Station, day, even, good

from ferryman.errors import DataRejected
from ferryman.monitoring.joined_windows import JoinedWindows
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel, ModelSpec


@pytest.fixture
def station(tmp_path: Path, rain: DeclaredModel) -> Station:
    return Station(Settings(home=tmp_path / "home"), rain)


def redeclare(station: Station, task: str, metric: str, **train: Any) -> None:
    """The same model with another task from now on."""
    told = station.model.spec.model_dump()
    told["train"] |= {"task": task, **train}
    told["monitor"] = MONITOR.model_dump()
    told["monitor"]["quality"]["metric"] = metric
    told["gates"] |= {"thresholds": {metric: {"max": 5.0}}}
    told["gates"]["champion"]["metric"] = metric
    spec = ModelSpec.model_validate(told)
    station.model = station.model.model_copy(update={"spec": spec, "digest": "anew"})


def test_labels_of_another_task_are_refused_with_the_way_out(station: Station) -> None:
    station.log(day(0), good)
    station.publish(day(1), even)
    redeclare(station, "regression", "rmse")
    with pytest.raises(DataRejected, match=r"2024-01-12T00:00:00Z.* are of type bool"):
        station.run(day(1), "join_labels")


def test_classes_that_are_declared_no_more_are_refused(station: Station) -> None:
    from ferryman.steps.join_labels import refuse_older_labels

    station.log(day(0), good)
    redeclare(station, "multiclass", "log_loss", classes=["dry", "wet"])
    import pyarrow as pa

    labels = pa.table({"label": pa.array(["dry", None, "snow"], pa.string())})
    with pytest.raises(DataRejected, match="'snow', and 'rain' is declared multiclass of other"):
        refuse_older_labels(labels, station.model, day(1))
    refuse_older_labels(labels.slice(0, 2), station.model, day(1))


def test_what_was_measured_before_is_no_evidence(station: Station) -> None:
    station.log(day(0), good)
    station.publish(day(1), even)
    station.release(1, datetime(2024, 1, 5, tzinfo=UTC), 0.1)
    before = station.run(day(1), "join_labels", "monitor")["monitor"]
    assert before.metrics["labelled"] == 100
    redeclare(station, "regression", "rmse")
    found = station.run(day(1), "monitor", "decide_retrain")
    quality: Any = found["monitor"].outputs["quality"]
    assert (quality["predicted"], quality["value"]) == (0, None)
    assert found["monitor"].outputs["champion"]["gate_value"] is None  # type: ignore[index, call-overload]
    assert found["decide_retrain"].outputs["retrain"] is False
    # The file of before is there as it was: the old declaration may come back.
    store = JoinedWindows(station.settings.monitoring_root)
    kept = pq.read_table(store.file("rain", day(1)))
    assert kept.num_rows == 100
    assert store.read("rain", day(1).start, day(1).start + timedelta(days=1)).num_rows == 100
