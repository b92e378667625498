"""A label that leaks stops a training, or a release, unless a person takes it upon themselves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from training_line import DAYS, Line

from ferryman.data.versions.dataset_catalogue import DatasetCatalogue
from ferryman.errors import DataRejected, GateRefused, SpecError
from ferryman.registry.mlflow_connection import connect
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.spec.model import DeclaredModel

STEPS = ("train", "evaluate", "package", "register")
WHY = "the sensor is read an hour ahead"


def add_sensor(folder: Path) -> None:
    """Declare a number `sensor`, known at the event, that the pipeline uses."""
    clouds, sensor = "    clouds: {type: integer}\n", "    sensor: {type: number}\n"
    late = "        millimetres:"
    for name, old, new in (
        ("model.yaml", late, f"    {sensor}{late}"),
        ("model.yaml", f"{clouds}train", f"{clouds}{sensor}train"),
        ("features.sql", "clouds FROM", "clouds, sensor FROM"),
        ("pipeline.py", '"clouds"]', '"clouds", "sensor"]'),
    ):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))


@pytest.fixture
def hours(rain: DeclaredModel, rain_hours: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    add_sensor(rain.folder)
    return rain_hours(DAYS)


def test_a_copy_of_the_label_is_refused_and_may_be_allowed(
    hours: pd.DataFrame, make_line: Callable[..., Line]
) -> None:
    line = make_line(hours.assign(sensor=(hours["millimetres"] > 0) * 2.0 - 7))
    with pytest.raises(GateRefused) as caught:
        line.run("train")
    assert caught.value.text == (
        "suspiciously good: column 'sensor' alone gives AUC 1.000 (it has two values, one for "
        "each label), on 1344 training rows"
    )
    client = connect(line.settings.mlflow_uri)
    assert client.get_experiment_by_name("rain") is None

    trained = line.run("train", run_id="r2", accept_leakage=WHY)["train"].outputs
    assert trained["accepted_leakage"]["reason"] == WHY
    tags = client.get_run(str(trained["mlflow_run_id"])).data.tags
    assert tags["ferryman.accepted_leakage"] == WHY
    assert tags["ferryman.accepted_leakage_by"] == line.settings.actor
    catalogue = DatasetCatalogue(LocalObjectStore(line.settings.data_root))
    shown = catalogue.show("rain", str(trained["train_dataset"]))
    assert shown is not None
    (override,) = shown["overrides"]
    assert (override["actor"], override["reason"]) == (line.settings.actor, WHY)
    assert override["findings"] == [
        "column 'sensor' alone gives AUC 1.000 (it has two values, one for each label)"
    ]
    with pytest.raises(GateRefused):  # it was allowed for that training, not for every one
        line.run("train", run_id="r3")
    for reason in ("too short", " " * 20, "x" * 201):
        with pytest.raises(SpecError, match="accept_leakage"):
            line.run("train", run_id="r4", accept_leakage=reason)


def test_a_perfect_evaluation_is_refused_until_it_is_allowed(
    hours: pd.DataFrame, make_line: Callable[..., Line]
) -> None:
    """No column tells it alone: the sensor lies under a black sky."""
    wet, black = hours["millimetres"] > 0, hours["sky"] == "black"
    line = make_line(hours.assign(sensor=(wet != black) * 1.0))
    with pytest.raises(GateRefused, match="roc_auc is exactly 1; does a feature hold the label"):
        line.run(*STEPS, "gate")
    results = line.run(*STEPS, "gate", run_id="r2", accept_leakage=WHY)
    assert results["register"].outputs["version"] == 2
    comparison: Any = results["gate"].outputs["comparison"]
    assert comparison["candidate"]["roc_auc"] == 1.0
    assert comparison["accepted_leakage"] == f"accepted by {line.settings.actor}: {WHY}"
    assert f"roc_auc is exactly 1, accepted by {line.settings.actor}: {WHY}" in (
        results["gate"].text
    )


def test_a_constant_label_is_rejected_with_counts(
    hours: pd.DataFrame, make_line: Callable[..., Line]
) -> None:
    line = make_line(hours.assign(sensor=0.0, millimetres=1.0))
    with pytest.raises(DataRejected, match="of 1344 training rows, 1344 are true and 0 false"):
        line.run("train")
