"""The digits: the files are what the script writes, and the network reads at least 97 % of them."""

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ferryman.data.versions.dataset import DatasetStore
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.spec.windows import Window
from ferryman.steps.journey import Journey

SAMPLES = Path(__file__).parents[2] / "include" / "sample_data"


def test_the_script_writes_the_committed_files(tmp_path: Path) -> None:
    command = [sys.executable, str(SAMPLES / "make_digits.py"), "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    for name in ("train.csv", "test.csv"):
        assert (tmp_path / name).read_bytes() == (SAMPLES / "digits" / name).read_bytes()


def test_train_csv_trains_test_csv_evaluates_and_97_percent_are_read(
    journey_of: Callable[[str], Journey], january: Callable[[int], Window]
) -> None:
    journey = journey_of("digits")
    list(journey.run("ingest", window=january(18)))
    trained, evaluated = (next(journey.run(step)) for step in ("train", "evaluate"))
    store = DatasetStore(LocalObjectStore(journey.settings.data_root), reason="t", actor="t")
    for name in ("train", "eval"):
        frame = store.load(str(trained.outputs[f"{name}_dataset"]), "digits")
        file = SAMPLES / "digits" / ("train.csv" if name == "train" else "test.csv")
        with file.open() as stream:
            images = sorted(int(row["image"]) for row in csv.DictReader(stream))
        keys = frame["entity_key"].str.split("|").str[0]
        assert sorted(keys.astype(int)) == images
    accuracy = evaluated.metrics["accuracy"]
    assert accuracy is not None
    assert accuracy >= 0.97
