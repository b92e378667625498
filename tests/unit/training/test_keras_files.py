"""Keras archives are looked through before anything of them is built; no TensorFlow is needed."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import pytest

from ferryman.errors import IntegrityBroken, PolicyRefused, SpecError
from ferryman.training.keras_file import load_keras
from ferryman.training.keras_trainer import KerasRun

DENSE = {"module": "keras.layers", "class_name": "Dense", "config": {}, "registered_name": None}


def archive(path: Path, layer: dict[str, Any], *, link: str = "", **more: bytes) -> Path:
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file.create_dataset("layers/dense/vars/0", data=[1.0])
        if link == "other file":
            file["layers/dense/vars/1"] = h5py.ExternalLink("/etc/hostname", "/")
        if link == "other bytes":
            file.create_dataset("layers/raw", (4,), "i1", external=[("/etc/hostname", 0, 4)])
    config = {"module": "keras", "class_name": "Sequential", "config": {"layers": [layer]}}
    parts = {
        "config.json": json.dumps(config).encode(),
        "metadata.json": b"{}",
        "model.weights.h5": weights.getvalue(),
        **{name.replace("__", "."): content for name, content in more.items()},
    }
    with zipfile.ZipFile(path, "w") as target:
        for name, content in parts.items():
            target.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        ({**DENSE, "class_name": "Lambda"}, "keras.layers.Lambda"),
        ({**DENSE, "class_name": "TFSMLayer"}, "keras.layers.TFSMLayer"),
        ({**DENSE, "module": "os", "class_name": "system"}, "os.system"),
        ({**DENSE, "module": "keras.utils", "class_name": "get_file"}, "keras.utils.get_file"),
        ({**DENSE, "module": "keras.src.utils.file_utils"}, "keras.src.utils.file_utils.Dense"),
        ({**DENSE, "module": "builtins", "class_name": "function"}, "builtins.function"),
        ({**DENSE, "registered_name": "mine>Layer"}, "keras.layers.Dense"),
        ({**DENSE, "module": None}, "Dense"),
        ({"class_name": "__lambda__", "config": {"value": "4wA="}}, "__lambda__"),
        ({**DENSE, "config": {"deep": [{"class_name": "X", "module": "own"}]}}, "own.X"),
    ],
)
def test_what_is_not_of_keras_is_refused(tmp_path: Path, layer: dict[str, Any], told: str) -> None:
    with pytest.raises(PolicyRefused, match=rf"not trusted: {told}"):
        load_keras(archive(tmp_path / "m.keras", layer))


@pytest.mark.parametrize("link", ["other file", "other bytes"])
def test_weights_that_lead_to_another_file_are_refused(tmp_path: Path, link: str) -> None:
    with pytest.raises(PolicyRefused, match="link layers/"):
        load_keras(archive(tmp_path / "m.keras", DENSE, link=link))


def test_a_file_too_many_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyRefused, match=r"file assets\.txt"):
        load_keras(archive(tmp_path / "m.keras", DENSE, assets__txt=b"words"))


def test_damage_is_noticed(tmp_path: Path) -> None:
    whole = archive(tmp_path / "m.keras", DENSE).read_bytes()
    for name, content in {
        "cut": whole[: len(whole) // 2],
        "flipped": whole.replace(b"keras.layers", b"keras.leyers"),
        "empty": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(IntegrityBroken, match="not a readable Keras file"):
            load_keras(tmp_path / name)
    config = archive(tmp_path / "c.keras", DENSE, config__json=b"{")
    with pytest.raises(IntegrityBroken, match="not JSON"):
        load_keras(config)
    weights = archive(tmp_path / "w.keras", DENSE, model__weights__h5=b"nothing")
    with pytest.raises(IntegrityBroken, match=r"model\.weights\.h5"):
        load_keras(weights)


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as target:
        target.writestr("config.json", "{}")
    with pytest.raises(IntegrityBroken, match=r"no metadata\.json, model\.weights\.h5"):
        load_keras(tmp_path / "m.keras")


def test_epochs_and_batch_size_are_whole_numbers() -> None:
    assert KerasRun.of({}) == KerasRun(epochs=20, batch_size=32)
    assert KerasRun.of({"epochs": 3.0, "batch_size": 8}) == KerasRun(epochs=3, batch_size=8)
    for wrong in (0, -1, 1.5, "ten", True):
        with pytest.raises(SpecError, match=r"train\.params\.epochs is"):
            KerasRun.of({"epochs": wrong})
