"""A model's whole life by commands, and then where it came from and what came of its data."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from services.command import Command

from ferryman.runtime.ports import free_ports
from ferryman.settings import load_settings
from ferryman.spec.model import DeclaredModel

DAYS = 24
WINDOW = "2024-01-01..2024-01-24"
COMMIT = "c0ffee" * 6 + "c0de"


class Town(Command):
    """The command, in an installation of its own."""

    def chain(self, *arguments: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self("lineage", *arguments, "--json"))
        return told


@pytest.fixture
def town(
    tmp_path: Path,
    rain: DeclaredModel,
    rain_hours: Callable[..., pd.DataFrame],
    empty_mlflow: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Town]:
    """Rain, trained, released and served."""
    source = tmp_path / "source" / "rain"
    source.mkdir(parents=True)
    hours = rain_hours(DAYS)
    noise = np.random.default_rng(3).normal(0, 8, len(hours))
    hours["millimetres"] = (hours["humidity"].fillna(60) + noise > 65) * 1.0
    hours.to_parquet(source / "hours_2024-01.parquet")
    shutil.copytree(empty_mlflow, tmp_path / "home" / "mlflow")
    port, admin = free_ports(2)
    for name, value in {
        "HOME": tmp_path / "home",
        "ZOO": rain.folder.parent,
        "SOURCE_ROOT": source.parent,
        "CODE_VERSION": COMMIT,
        "SERVING_PORT": port,
        "SERVING_ADMIN_PORT": admin,
        "ACTOR": "ann",
    }.items():
        monkeypatch.setenv(f"FERRYMAN_{name}", str(value))
    made = Town(capsys, monkeypatch)
    made("run", "ingest", "-m", "rain", "--window", WINDOW)
    made("run", "training", "-m", "rain", "-p", "reason=the first one")
    made("serve", "--detach")
    try:
        made("run", "release", "-m", "rain")
        yield made
    finally:
        made("serve", "--stop")
        load_settings.cache_clear()


def of_kind(link: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Every link of a kind at or below one."""
    below = [found for inner in link["links"] for found in of_kind(inner, kind)]
    return ([link] if link["kind"] == kind else []) + below


def test_from_a_served_prediction_to_the_files_and_back(town: Town) -> None:
    answer = httpx.post(
        f"{load_settings().serving_url}/v1/models/rain:predict",
        json={"instances": [{"station": "north", "sky": "grey", "humidity": 70.0, "clouds": 3}]},
    )
    served = answer.headers["x-model-version"]
    told = town.chain(f"rain/{served}")
    assert told["missing"] == []
    chain = told["chain"]
    assert (chain["kind"], chain["name"]) == ("model version", "rain/1")
    (release,) = of_kind(chain, "release")
    assert release["name"] == f"epoch {answer.headers['x-model-epoch']}"
    assert release["facts"]["until"] is None
    (run,) = of_kind(chain, "run")
    steps = [step["name"] for step in of_kind(run, "step")]
    assert steps == ["train", "evaluate", "package", "register", "report"]
    assert run["facts"]["reason"] == "the first one"
    (code,) = of_kind(chain, "code")
    assert code["name"] == COMMIT
    train, evaluation = of_kind(chain, "dataset version")
    assert [train["facts"]["rows"], evaluation["facts"]["rows"]] == [14 * 96, 7 * 96]
    windows = [link for link in train["links"] if link["relation"] == "features from"]
    assert len(windows) == 14
    (part,) = of_kind(windows[0], "part")
    assert part["name"] == "rain/hours_2024-01.parquet"
    assert len(part["facts"]["sha256"]) == 64

    text = town("lineage", "rain@champion")
    assert town("lineage", "1", "--model", "rain") == text
    for said in ("epoch 1", COMMIT[:12], train["name"][:16], "and 5 more", part["name"]):
        assert said in text
    assert "more: --full" not in town("lineage", "rain/1", "--full")

    # and back, from the first window of the training data
    back = town.chain(windows[0]["name"][:12])["chain"]
    assert back["kind"] == "window"
    (held,) = [link for link in back["links"] if link["kind"] == "dataset version"]
    assert held["name"] == train["name"]
    (version,) = of_kind(held, "model version")
    assert version["name"] == "rain/1"
    assert of_kind(version, "release")[0]["facts"]["epoch"] == 1
    from_dataset = town.chain(evaluation["name"][:12], "--model", "rain")["chain"]
    assert of_kind(from_dataset, "model version")[0]["name"] == "rain/1"
    first_day = town.chain(of_kind(evaluation, "window")[-1]["name"])["chain"]
    assert of_kind(first_day, "dataset version")[0]["name"] == evaluation["name"]


def test_what_is_missing_is_told(town: Town) -> None:
    settings = load_settings()
    run = of_kind(town.chain("rain/1")["chain"], "run")[0]

    shutil.rmtree(settings.runs_root / "rain" / "training")
    told = town.chain("rain/1")
    assert any("results of the run are not in" in text for text in told["missing"])

    from ferryman.registry.mlflow_connection import connect

    connect(settings.mlflow_uri).delete_run(run["facts"]["mlflow_run_id"])
    told = town.chain("rain/1")
    name = run["facts"]["mlflow_run_id"]
    assert f"MLflow run {name} is not there any more" in told["missing"]

    train = of_kind(told["chain"], "dataset version")[0]["name"]
    entry = next((settings.data_root / "rain" / "snapshots").glob("*/entry.json"))
    entry.unlink()
    assert any(entry.parent.name in text for text in town.chain("rain/1")["missing"])
    (settings.data_root / "rain" / "datasets" / f"{train}.json").unlink()
    assert any(f"dataset version {train}" in text for text in town.chain("rain/1")["missing"])

    # MLflow away: the ledger knows what it released
    (closed,) = free_ports(1)
    town.patch.setenv("FERRYMAN_MLFLOW_URI", f"http://127.0.0.1:{closed}")
    told = town.chain("rain@champion")
    assert any("MLflow is not available" in text for text in told["missing"])
    assert of_kind(told["chain"], "release")[0]["facts"]["epoch"] == 1
    assert of_kind(told["chain"], "code")[0]["name"] == COMMIT
    assert "MLflow is not available" in town("lineage", "rain/9", code=6)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (("rain/9",), "'rain' has no version 9"),
        (("rain@best",), "no version with the alias 'best'"),
        (("sleet/1",), "'sleet' has no version 1"),
        (("ffff0000",), "0 versions of data begin with 'ffff0000'"),
        (("x/../y",), "neither a model version nor the id of data"),
        (("rain/1", "-m", "snow"), "is a version of 'rain', not of 'snow'"),
    ],
)
def test_what_does_not_exist(
    what: tuple[str, ...],
    text: str,
    tmp_path: Path,
    empty_mlflow: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(empty_mlflow, tmp_path / "mlflow")
    monkeypatch.setenv("FERRYMAN_HOME", str(tmp_path))
    assert text in Town(capsys, monkeypatch)("lineage", *what, code=2)
    load_settings.cache_clear()
