"""train, evaluate, package, register: on real windows, into a real MLflow, again and again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from training_line import DAYS, Line

from ferryman.data.versions.dataset import DatasetStore
from ferryman.data.versions.pins import Pins
from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.errors import DataRejected, SpecError
from ferryman.packaging.onnx_scorer import OnnxScorer
from ferryman.registry.mlflow_connection import connect
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.runtime.bundle import verify
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.settings import Settings
from ferryman.spec.loader import load_model

STEPS = ("train", "evaluate", "package", "register")


def registry(line: Line) -> MlflowRegistry:
    return MlflowRegistry(line.settings.mlflow_uri, line.settings.mlflow_artifacts)


def test_whole_training(line: Line) -> None:
    results = line.run(*STEPS, reason="a test")
    train, evaluate = results["train"], results["evaluate"]
    assert train.outputs["cutoff"] == "2024-01-25T00:00:00Z"
    assert train.outputs["reason"] == "a test"
    datasets = DatasetStore(LocalObjectStore(line.settings.data_root))
    fitted_on = datasets.load(str(train.outputs["train_dataset"]), "rain")
    judged_on = datasets.load(str(train.outputs["eval_dataset"]), "rain")
    assert train.metrics["train_rows"] == len(fitted_on) == 14 * 96
    assert fitted_on["event_time"].max() < judged_on["event_time"].min()

    metrics = evaluate.metrics
    assert metrics["rows"] == len(judged_on) == 7 * 96
    for name in ("roc_auc", "log_loss", "brier", "accuracy", "precision", "recall", "f1"):
        low, value, high = (metrics[f"{name}{end}"] for end in ("_low", "", "_high"))
        assert low is not None
        assert value is not None
        assert high is not None
        assert low < value < high
    predictions = pq.read_table(str(evaluate.outputs["predictions"]))
    assert predictions.column_names == ["entity_key", "event_time", "label", "score"]

    register = results["register"]
    assert (register.outputs["version"], register.outputs["canonical"]) == (1, True)
    bundle = Path(str(register.outputs["bundle"]))
    verify(bundle, digest=str(register.outputs["digest"]))
    scores = OnnxScorer(bundle).score(judged_on)
    assert np.abs(scores - predictions.column("score").to_numpy()).max() < 1e-5


def test_what_mlflow_shows(line: Line) -> None:
    results = line.run(*STEPS)
    run = connect(line.settings.mlflow_uri).get_run(str(results["train"].outputs["mlflow_run_id"]))
    assert run.info.status == "FINISHED"
    assert run.data.params["max_iter"] == "20"
    assert run.data.params["train_window"] == "14d"
    assert run.data.metrics["roc_auc"] == results["evaluate"].metrics["roc_auc"]
    assert run.data.metrics["train_rows"] == 14 * 96
    assert run.data.tags["ferryman.run_id"] == "r1"
    assert run.data.tags["ferryman.asked_by"] == line.settings.actor
    for name in ("cutoff", "train_dataset", "eval_dataset", "code_version"):
        assert run.data.tags[f"ferryman.{name}"] == results["train"].outputs[name]
    root = Path(unquote(urlparse(run.info.artifact_uri).path))
    found = {file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()}
    bundle = {name for name in found if name.startswith("bundle/")}
    assert bundle == {
        "bundle/manifest.json",
        *(f"bundle/{n}" for n in verify(root / "bundle").files),
    }
    assert found - bundle >= {
        "environment/python.json",
        "environment/requirements.txt",
        "evaluation/confusion_matrix.json",
        "evaluation/confusion_matrix.png",
        "training/recipe.json",
        *(f"code/{name}" for name in ("features.sql", "labels.sql", "model.yaml", "pipeline.py")),
    }
    assert run.data.metrics["fit_cpu_seconds"] > 0
    matrix = json.loads((root / "evaluation" / "confusion_matrix.json").read_text())
    assert sum(map(sum, matrix["counts"])) == 7 * 96
    assert (root / "evaluation" / "confusion_matrix.png").read_bytes()[:4] == b"\x89PNG"
    (version,) = registry(line).versions("rain")
    assert version.source == f"{run.info.artifact_uri}/bundle"
    assert version.tags["ferryman.cutoff"] == "2024-01-25T00:00:00Z"
    assert version.run_key == results["train"].outputs["run_key"]


def test_running_again_without_the_results_changes_nothing(line: Line) -> None:
    first = line.run(*STEPS)
    for step in STEPS:
        (line.settings.runs_root / "rain" / "training" / "r1" / step / "result.json").unlink()
    second = line.run(*STEPS)
    assert second["register"].outputs == first["register"].outputs
    assert second["train"].outputs == first["train"].outputs
    assert second["evaluate"].metrics == first["evaluate"].metrics
    assert len(registry(line).versions("rain")) == 1
    client = connect(line.settings.mlflow_uri)
    experiment = client.get_experiment_by_name("rain")
    assert len(client.search_runs([experiment.experiment_id])) == 1


def test_another_run_of_the_same_training_is_the_same_version(line: Line) -> None:
    first = line.run(*STEPS)["register"].outputs
    second = line.run(*STEPS, run_id="r2")["register"].outputs
    assert {**second, "canonical": True} == first
    assert second["canonical"] is False


def test_the_canonical_bundle_is_fetched_where_it_differs(line: Line) -> None:
    """Another machine's libraries may give other bytes for the same run key."""
    first = line.run(*STEPS)["register"].outputs
    key, digest = str(first["run_key"]), str(first["digest"])
    results = line.run("train", "evaluate", "package", run_id="r2")
    other = results["package"].outputs
    store = registry(line)
    (version,) = store.versions("rain")
    assert version.run_key == key
    # as if r2's bundle were another one: r1's is only in MLflow
    foreign = line.settings.bundles_root / "rain" / digest
    shutil.rmtree(foreign)
    changed = results["package"].model_copy(update={"outputs": _other_bundle(line, other)})
    from ferryman.runtime.messages import StepRequest
    from ferryman.steps.contract import run_step

    request = StepRequest(
        model="rain",
        step="register",
        run_id="r2",
        run_uri=str(line.settings.runs_root / "rain" / "training" / "r2"),
        spec_digest=line.model.digest,
        results={"train": results["train"], "package": changed},
    )
    done = run_step(request, line.model, line.settings).outputs
    assert (done["version"], done["digest"], done["canonical"]) == (1, digest, False)
    assert done["bundle"] == str(foreign)
    verify(foreign, digest=digest)


def _other_bundle(line: Line, outputs: dict[str, object]) -> dict[str, object]:
    from ferryman.registry.mlflow_registry import MlflowRegistry
    from ferryman.runtime.bundle import seal

    folder = line.settings.bundles_root / "rain" / "aside"
    folder.mkdir()
    store = MlflowRegistry(line.settings.mlflow_uri, line.settings.mlflow_artifacts)
    store.download(store.versions("rain")[0], folder)
    (folder / "manifest.json").unlink()
    (folder / "reference.json").write_text('{"other": 1}')
    manifest = seal(folder, model="rain", task="binary", framework="sklearn")
    target = folder.with_name(manifest.digest)
    folder.rename(target)
    return {**outputs, "bundle": str(target), "digest": manifest.digest}


def test_a_changed_parameter_is_another_version(line: Line) -> None:
    line.run(*STEPS)
    file = line.model.folder / "model.yaml"
    file.write_text(file.read_text().replace("max_iter: 20", "max_iter: 25"))
    changed = Line(line.settings, load_model(line.model.folder))
    assert changed.run(*STEPS, run_id="r2")["register"].outputs["version"] == 2


def test_the_cutoff_bounds_what_training_sees(line: Line) -> None:
    outputs = line.run("train", cutoff="2024-01-23T00:00:00+00:00")["train"].outputs
    datasets = DatasetStore(LocalObjectStore(line.settings.data_root))
    frame = datasets.load(str(outputs["eval_dataset"]), "rain")
    assert frame["event_time"].max().isoformat() == "2024-01-21T23:00:00+00:00"
    with pytest.raises(SpecError, match="cutoff"):
        line.run("train", run_id="r3", cutoff="2024-01-23T00:00:00")


def test_the_same_data_is_not_trained_on_twice(line: Line) -> None:
    """Delivered, ingested and trained again under other names: one dataset, one fit, one model."""
    first = line.run("train")["train"]
    line.publish()
    again = line.run("train", run_id="r2")["train"]
    for name in ("train_dataset", "eval_dataset", "run_key", "model_sha256"):
        assert again.outputs[name] == first.outputs[name]
    assert again.metrics["fit_seconds"] is None
    assert again.text == "nothing new to train on: 1344 rows, the model of run r1"
    assert Path(str(again.outputs["model_file"])).parent.parent.name == "r2"

    file = Path(str(first.outputs["model_file"]))
    file.write_bytes(file.read_bytes()[:-1])  # not what it was: it is fitted anew
    third = line.run("train", run_id="r3")["train"]
    assert third.outputs["same_as"] == "r2"
    Path(str(again.outputs["model_file"])).unlink()
    Path(str(third.outputs["model_file"])).unlink()
    assert line.run("train", run_id="r4")["train"].metrics["fit_seconds"] is not None


@pytest.mark.parametrize("code", ["unknown", "1234-dirty"])
def test_code_without_a_version_is_always_trained(line: Line, code: str) -> None:
    settings = Settings(**{**line.settings.model_dump(), "code_version": code})
    other = Line(settings, line.model)
    other.run("train")
    assert other.run("train", run_id="r2")["train"].metrics["fit_seconds"] is not None


def test_a_pinned_dataset_is_trained_on_as_it_was(
    line: Line, rain_hours: Callable[..., pd.DataFrame]
) -> None:
    first = line.run("train", cutoff="2024-01-23T00:00:00Z")["train"].outputs
    source = line.settings.source_root / "rain" / "hours_2024-01.parquet"
    rain_hours(DAYS, seed=1).to_parquet(source)
    line.publish("i2")
    newest = line.run("train", run_id="r2", cutoff="2024-01-23T00:00:00Z")["train"].outputs
    assert newest["train_dataset"] != first["train_dataset"]
    assert newest["eval_dataset"] != first["eval_dataset"]
    name = str(first["train_dataset"])
    objects = LocalObjectStore(line.settings.data_root)
    Pins(objects).pin("rain", "before", name, reason="as it was", actor="ann")
    for run_id, pin in (("r3", name), ("r4", name[:12]), ("r5", "before")):
        pinned = line.run("train", run_id=run_id, pin=pin)["train"].outputs
        for key in ("train_dataset", "eval_dataset", "cutoff", "run_key", "model_sha256"):
            assert pinned[key] == first[key]


def test_pins_that_cannot_be(line: Line) -> None:
    objects = LocalObjectStore(line.settings.data_root)
    day = SnapshotStore(objects).snapshot_ids("rain")[0]
    Pins(objects).pin("rain", "a-day", day, reason="a window", actor="ann")
    first = line.run("train", cutoff="2024-01-23T00:00:00Z")["train"].outputs
    for pin, text in (
        ("../x", "pin"),
        ("x" * 101, "pin"),
        ("no-such-pin", "no dataset version of 'rain'"),
        ("a-day", "is no dataset version"),
        (str(first["eval_dataset"])[:20], "is an evaluation version"),
    ):
        with pytest.raises(SpecError, match=text):
            line.run("train", run_id="r3", pin=pin)
    with pytest.raises(SpecError, match="was cut off at 2024-01-23T00:00:00Z, not at 2024-01-24"):
        line.run("train", run_id="r3", pin=first["train_dataset"], cutoff="2024-01-24T00:00:00Z")


def test_too_few_rows_are_rejected(line: Line) -> None:
    with pytest.raises(DataRejected, match=r"96 labelled training rows .*min_rows is 200"):
        line.run("train", cutoff="2024-01-10T00:00:00Z")


def test_no_window_is_rejected(line: Line) -> None:
    shutil.rmtree(line.settings.data_root)
    with pytest.raises(DataRejected, match="no window of 'rain' has been published"):
        line.run("train")
