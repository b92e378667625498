"""A Keras model: the figures of its epochs are kept, carried over, and it is trained again."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from reproducing import House

from ferryman.registry.mlflow_connection import connect
from ferryman.runtime.run_store import run_results
from ferryman.runtime.timings import run_timings
from ferryman.settings import load_settings

ROOT = Path(__file__).resolve().parents[3]
MODEL = "linear_regression"


@pytest.fixture
def house(
    tmp_path: Path,
    empty_mlflow: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[House]:
    shutil.copytree(ROOT / "include" / "model_zoo" / MODEL, tmp_path / "zoo" / MODEL)
    shutil.copytree(empty_mlflow, tmp_path / "home" / "mlflow")
    monkeypatch.setenv("FERRYMAN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FERRYMAN_ZOO", str(tmp_path / "zoo"))
    monkeypatch.setenv("FERRYMAN_CODE_VERSION", "c0ffee")
    made = House(capsys, monkeypatch, MODEL)
    made("run", "ingest", "-m", MODEL, "--window", "2024-01-01..2024-01-10")
    made.train()
    yield made
    load_settings.cache_clear()


def test_epochs_are_kept_and_the_training_repeats_itself(house: House) -> None:
    settings = load_settings()
    runs = settings.runs_root / MODEL / "training"
    (folder,) = runs.iterdir()
    trained = run_results(folder)["train"]
    epochs = json.loads(Path(trained.artifacts["history"]).read_bytes())
    assert len(epochs) == 25
    client = connect(settings.mlflow_uri)
    run = str(trained.outputs["mlflow_run_id"])
    kept = client.get_metric_history(run, "epoch/loss")
    assert [one.step for one in sorted(kept, key=lambda one: one.step)] == list(range(25))
    assert {one.step: one.value for one in kept}[24] == epochs[24]["loss"]
    assert client.get_run(run).data.metrics["fit_cpu_seconds"] > 0
    assert (house.artifacts("training") / "history.json").is_file()
    timings = run_timings(folder)
    assert list(timings) == ["train", "package", "register"]
    assert timings["train"].seconds >= trained.metrics["fit_seconds"] > 0  # type: ignore[operator]

    told = house.reproduce()
    assert told["reproduced"]
    assert told["first_difference"] is None
    assert told["comparison"]["max_difference"] <= 1e-6

    house("run", "train", "-m", MODEL)
    (other,) = [entry for entry in runs.iterdir() if entry != folder]
    again = run_results(other)["train"]
    assert again.outputs["same_as"] == folder.name
    assert again.metrics["fit_seconds"] is again.metrics["fit_cpu_seconds"] is None
    assert json.loads(Path(again.artifacts["history"]).read_bytes()) == epochs
    assert len(client.get_metric_history(str(again.outputs["mlflow_run_id"]), "epoch/loss")) == 25
