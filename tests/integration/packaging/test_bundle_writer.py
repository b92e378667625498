"""Bundles: complete, sealed, the same folder for the same model, and scored by their graph."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ferryman.errors import DataRejected, IntegrityBroken
from ferryman.packaging.bundle_writer import Bundle, PackedModel, write_bundle
from ferryman.packaging.onnx_scorer import OnnxScorer
from ferryman.runtime.bundle import (
    GOLDEN,
    ONNX,
    PARITY,
    REFERENCE,
    SERVING_ONNX,
    SIGNATURE,
    SKOPS,
    Golden,
    verify,
)
from ferryman.spec.model import DeclaredModel
from ferryman.training.sklearn_trainer import SklearnModel
from ferryman.training.trainers import load_model_file, make_trainer

Frames = Callable[..., pd.DataFrame]
Pack = Callable[[], Bundle]


@pytest.fixture
def fitted(rain: DeclaredModel, rain_frame: Frames) -> Any:
    return make_trainer(rain.spec).fit(rain_frame(5), rain)


@pytest.fixture
def pack(rain: DeclaredModel, rain_frame: Frames, fitted: SklearnModel, tmp_path: Path) -> Pack:
    def write() -> Bundle:
        model_file = tmp_path / "model.skops"
        fitted.save(model_file)
        packed = PackedModel(
            model_file, lambda file: load_model_file(file, rain.spec), {"humidity": {"mean": 1}}
        )
        return write_bundle(
            packed,
            rain.spec,
            rain_frame(5),
            work=tmp_path / "work",
            bundles_root=tmp_path / "bundles",
        )

    return write


def test_bundle_is_complete_and_verifies(pack: Pack, rain: DeclaredModel, tmp_path: Path) -> None:
    bundle = pack()
    assert bundle.folder == tmp_path / "bundles" / "rain" / bundle.digest
    manifest = verify(bundle.folder, digest=bundle.digest)
    assert set(manifest.files) == {
        *(ONNX, SERVING_ONNX, SKOPS, SIGNATURE, GOLDEN, REFERENCE, PARITY),
        *("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "pyfunc_model.py"),
    }
    assert (manifest.model, manifest.task, manifest.framework) == ("rain", "binary", "sklearn")
    assert bundle.parity.max_difference < 1e-5
    assert not (tmp_path / "work").exists()
    signature = json.loads((bundle.folder / SIGNATURE).read_text())
    assert [column["name"] for column in signature["features"]] == list(rain.spec.features.columns)
    assert signature["blocks"] == {"text": ["station", "sky"], "float32": ["humidity", "clouds"]}
    assert set(bundle.parity.formats) == {"skops", "onnx", "serving"}
    assert (signature["entity"], signature["output"]) == (["station"], "wet")


def test_packing_again_finds_the_same_folder(pack: Pack, tmp_path: Path) -> None:
    first = pack()
    assert pack() == first
    assert [entry.name for entry in (tmp_path / "bundles" / "rain").iterdir()] == [first.digest]


def test_leftovers_of_a_killed_attempt_do_not_matter(pack: Pack, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "half.onnx").write_text("half")
    bundle = pack()
    assert "half.onnx" not in verify(bundle.folder).files


def test_a_damaged_kept_bundle_is_not_taken_for_good(pack: Pack) -> None:
    bundle = pack()
    (bundle.folder / REFERENCE).write_text("{}")
    with pytest.raises(IntegrityBroken, match=r"digest mismatch: .*reference\.json"):
        pack()


def test_golden_rows_are_raw_and_their_answers_come_back(pack: Pack) -> None:
    bundle = pack()
    golden = Golden.model_validate_json((bundle.folder / GOLDEN).read_text())
    assert len(golden.rows) == len(golden.outputs) == 50
    assert any(None in row.values() for row in golden.rows)
    columns = {name: [row[name] for row in golden.rows] for name in golden.rows[0]}
    scores = OnnxScorer(bundle.folder).score(columns)
    assert np.abs(scores - golden.outputs).max() <= golden.tolerance


def test_model_file_in_the_bundle_is_the_fitted_one(
    pack: Pack, fitted: SklearnModel, rain: DeclaredModel, rain_frame: Frames
) -> None:
    loaded = load_model_file(pack().folder / SKOPS, rain.spec)
    frame = rain_frame(2, seed=3)
    assert (loaded.predict(frame) == fitted.predict(frame)).all()


def test_scorer_takes_frames_and_mappings_and_names_bad_columns(
    pack: Pack, fitted: SklearnModel, rain_frame: Frames
) -> None:
    scorer = OnnxScorer(pack().folder)
    frame = rain_frame(2, seed=3)
    scores = scorer.score(frame)
    assert scores.shape == (len(frame),)
    assert np.abs(scores - fitted.predict(frame)).max() < 1e-5
    row = {"station": ["north"], "sky": [None], "humidity": [None], "clouds": [3]}
    assert scorer.score(row).shape == (1,)
    with pytest.raises(DataRejected, match="missing: clouds"):
        scorer.score({name: row[name] for name in ("station", "sky", "humidity")})
    with pytest.raises(DataRejected, match="'humidity' is number"):
        scorer.score({**row, "humidity": ["wet"]})
    with pytest.raises(DataRejected, match="'sky' is category: 3 is not text"):
        scorer.score({**row, "sky": [3]})


def test_scorer_refuses_what_is_no_graph(pack: Pack) -> None:
    folder = pack().folder
    (folder / ONNX).write_bytes(b"not a graph")
    with pytest.raises(IntegrityBroken, match="onnxruntime cannot load"):
        OnnxScorer(folder)
    (folder / ONNX).unlink()
    with pytest.raises(IntegrityBroken, match="not readable"):
        OnnxScorer(folder)
