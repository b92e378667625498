"""A registered version is trained again; what stands in the way, or differs, is named first."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from reproducing import House

from ferryman.registry.mlflow_connection import connect
from ferryman.settings import load_settings
from ferryman.spec.model import DeclaredModel

WINDOW = "2024-01-01..2024-01-24"
RANDOM = """
import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

def build(params, seed):
    luck = float(np.random.default_rng().uniform(0.001, 1))
    columns = make_column_transformer((SimpleImputer(), ["humidity", "clouds"]))
    return make_pipeline(columns, LogisticRegression(C=luck))
"""


@pytest.fixture
def untrained(
    tmp_path: Path,
    rain: DeclaredModel,
    rain_hours: Callable[..., pd.DataFrame],
    empty_mlflow: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[House]:
    source = tmp_path / "source" / "rain"
    source.mkdir(parents=True)
    rain_hours(24).to_parquet(source / "hours_2024-01.parquet")
    shutil.copytree(empty_mlflow, tmp_path / "home" / "mlflow")
    for name, value in {
        "HOME": tmp_path / "home",
        "ZOO": rain.folder.parent,
        "SOURCE_ROOT": source.parent,
        "CODE_VERSION": "c0ffee" * 6 + "c0de",
    }.items():
        monkeypatch.setenv(f"FERRYMAN_{name}", str(value))
    made = House(capsys, monkeypatch)
    made("run", "ingest", "-m", "rain", "--window", WINDOW)
    yield made
    load_settings.cache_clear()


@pytest.fixture
def house(untrained: House) -> House:
    """Rain, trained and registered once."""
    untrained.train()
    return untrained


@contextmanager
def altered(file: Path, content: bytes | None) -> Iterator[None]:
    """A file with other bytes, or without the file, while the block runs."""
    before = file.read_bytes()
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    yield
    file.write_bytes(before)


def world(home: Path) -> dict[str, bytes]:
    """What must stay as it is: runs, bundles, ledger, the registry's artifacts."""
    files = [
        file
        for name in ("runs", "bundles", "mlflow/artifacts")
        for file in (home / name).rglob("*")
    ]
    return {str(file): file.read_bytes() for file in files if file.is_file()}


def test_the_same_model_comes_out_and_nothing_is_left(house: House) -> None:
    settings = load_settings()
    before = world(settings.home)
    told = house.reproduce()
    assert told["reproduced"]
    assert told["same_bytes"]
    assert told["comparison"]["rows"] == 7 * 96
    assert told["comparison"]["max_difference"] <= 1e-6
    assert told["first_difference"] is None
    assert [finding["subject"] for finding in told["findings"]] == [
        "registry", "training data", "evaluation data", "model folder", "project", "packages",
        "lock", "parameters", "seed", "pipeline", "cores", "predictions",
    ]  # fmt: skip
    text = house("reproduce", "1", "--model", "rain")
    assert "rain/1 is reproduced: 672 rows within 0.0e+00, equal model files" in text
    assert world(settings.home) == before
    assert len(connect(settings.mlflow_uri).search_model_versions("name = 'rain'")) == 1


def test_a_changed_folder_is_restored_and_a_difference_that_does_not_matter_is_named(
    house: House,
) -> None:
    folder = load_settings().zoo / "rain"
    declaration = (folder / "model.yaml").read_bytes()
    with altered(folder / "model.yaml", declaration.replace(b"max_iter: 20", b"max_iter: 21")):
        told = house.reproduce()
    assert told["reproduced"]
    assert told["same_bytes"]
    assert told["first_difference"]["subject"] == "model folder"
    assert "model.yaml differs; restored" in told["first_difference"]["text"]
    differ = {
        finding["subject"]: finding["text"] for finding in told["findings"] if not finding["same"]
    }
    assert differ["parameters"] == "max_iter 20 then, 21 is declared now"
    with altered(folder / "pipeline.py", b"def build(:\n"):
        assert "pipeline.py differs" in house.reproduce()["first_difference"]["text"]
    shutil.move(folder, folder.with_name("sleet"))
    assert "not declared now" in house.reproduce()["first_difference"]["text"]

    kept = house.artifacts("code") / "pipeline.py"
    with altered(kept, kept.read_bytes() + b"import os\n"):
        told = house.reproduce(code=7)
        assert "the run's copy has sha256" in told["first_difference"]["text"]
    shutil.rmtree(kept.parent)
    assert "the run kept no copy" in house.reproduce(code=7)["first_difference"]["text"]


def test_data_that_is_gone_or_altered_is_named_with_its_window(house: House) -> None:
    snapshots = load_settings().data_root / "rain"
    entry = sorted((snapshots / "snapshots").glob("*/entry.json"))[0]
    window = json.loads(entry.read_bytes())["window"]["start"][:10]
    with altered(entry, None):
        told = house.reproduce(code=7)
    assert "data" in told["first_difference"]["subject"]
    assert window in told["first_difference"]["text"]
    assert entry.parent.name in told["first_difference"]["text"]
    assert told["comparison"] is None
    recipe = json.loads((house.artifacts("training") / "recipe.json").read_bytes())
    manifest = snapshots / "datasets" / f"{recipe['train_dataset']}.json"
    with altered(manifest, manifest.read_bytes().replace(b'"wet"', b'"dry"')):
        text = house("reproduce", "rain/1", code=7)
    assert "rain/1 cannot be reproduced: training data: dataset" in text
    assert "digest mismatch" in text
    house.reproduce()


def test_what_was_registered_is_checked_first(house: House) -> None:
    bundle = house.artifacts("bundle")
    model = bundle / "model.skops"
    with altered(model, model.read_bytes()[:-1] + b"x"):
        told = house.reproduce(code=7)
    assert told["first_difference"]["subject"] == "registry"
    assert "model.skops: expected" in told["first_difference"]["text"]

    recipe = house.artifacts("training") / "recipe.json"
    for change in ((b'"seed": 7', b'"seed": 8'), (b'"seed": 7', b'"seed": "x"')):
        with altered(recipe, recipe.read_bytes().replace(*change)):
            told = house.reproduce(code=7)
        assert told["first_difference"]["subject"] == "recipe"
    shutil.rmtree(recipe.parent)
    assert "does not hold it" in house.reproduce(code=7)["first_difference"]["text"]
    assert "'rain' has no version 9" in house("reproduce", "rain/9", code=2)
    assert "is no model version" in house("reproduce", "ffff0000", code=2)


def test_packages_and_commit_that_differ_are_told(house: House) -> None:
    packages = house.artifacts("environment") / "requirements.txt"
    lines = packages.read_text().splitlines()
    other = ["numpy==1.0" if line.startswith("numpy==") else line for line in lines]
    house.patch.setenv("FERRYMAN_CODE_VERSION", "decade-dirty")
    with altered(packages, "\n".join(other).encode()):
        told = house.reproduce()
    differ = {
        finding["subject"]: finding["text"] for finding in told["findings"] if not finding["same"]
    }
    assert differ.keys() == {"project", "packages"}
    assert differ["packages"].startswith("numpy 1.0 then, ")
    assert differ["project"].endswith("commit decade-dirty now with uncommitted changes")
    with altered(packages, None):
        told = house.reproduce()
    assert any("what was installed is not known" in finding["text"] for finding in told["findings"])


def test_a_training_that_does_not_repeat_itself_is_found_out(untrained: House) -> None:
    folder = load_settings().zoo / "rain"
    (folder / "pipeline.py").write_text(RANDOM)
    text = (folder / "model.yaml").read_text()
    (folder / "model.yaml").write_text(text.replace("max_iter: 20, learning_rate: 0.2", ""))
    untrained.train()
    told = untrained.reproduce(code=7)
    assert told["first_difference"]["subject"] == "predictions"
    assert not told["reproduced"]
    found = told["comparison"]
    assert found["first_row"].startswith("row 0 (")
    assert abs(found["recorded"] - found["found"]) > 1e-6
    said = untrained("reproduce", "rain/1", code=7)
    assert "nothing else differs" in said
    assert "not deterministic" in said
