"""Keras models in every format: equal answers, equal bytes, and no release with a wrong weight."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import numpy_helper

from ferryman.errors import IntegrityBroken, SpecError
from ferryman.packaging import formats
from ferryman.packaging.keras_export import export_keras_onnx
from ferryman.packaging.onnx_scorer import OnnxScorer
from ferryman.runtime.bundle import GOLDEN, KERAS, ONNX, PARITY, SAVED_MODEL, Golden, verify
from ferryman.runtime.files import read_json
from ferryman.runtime.onnx_library import load_onnxruntime
from ferryman.spec.data import FeatureSpec

TASKS = ("binary", "multiclass", "regression")
Fit = Callable[[str], Any]


@pytest.mark.parametrize("task", TASKS)
def test_every_format_answers_as_the_trained_model(
    fit_keras: Fit, task: str, tmp_path: Path
) -> None:
    fitted = fit_keras(task)
    bundle = fitted.pack(tmp_path)
    files = verify(bundle.folder, digest=bundle.digest).files
    assert {ONNX, KERAS, PARITY, f"{SAVED_MODEL}/rain/1/saved_model.pb"} <= set(files)
    certificate = read_json(bundle.folder / PARITY)
    assert set(certificate["formats"]) == {"onnx", "keras", "saved_model", "serving"}
    assert certificate["rows"] > 300
    expected = fitted.model.predict(fitted.frame)
    assert expected.shape == ((300, 3) if task == "multiclass" else (300,))
    scores = OnnxScorer(bundle.folder).score(fitted.frame)
    assert scores.shape == expected.shape
    assert np.abs(scores - expected).max() <= certificate["tolerance"]
    golden = Golden.model_validate(read_json(bundle.folder / GOLDEN))
    columns = {name: [row[name] for row in golden.rows] for name in golden.rows[0]}
    again = OnnxScorer(bundle.folder).score(columns)
    assert np.abs(again - np.array(golden.outputs)).max() <= golden.tolerance
    assert not any(None in row.values() for row in golden.rows)  # no column may be null


@pytest.mark.parametrize("task", TASKS)
def test_saved_model_has_tensorflow_servings_layout(
    fit_keras: Fit, task: str, tmp_path: Path
) -> None:
    """<name>/<whole number>/, tag serve, serving_default; a vector a column, as REST rows want."""
    fitted = fit_keras(task)
    folder = fitted.pack(tmp_path).folder / SAVED_MODEL / "rain" / "1"
    loaded = tf.saved_model.load(str(folder), tags=["serve"])
    serve = loaded.signatures["serving_default"]
    answers = serve(
        humidity=tf.constant([50.0, 70.0], tf.float32), clouds=tf.constant([1.0, 8.0], tf.float32)
    )
    assert set(answers) == {"predictions"}
    rows = fitted.frame.head(2).assign(humidity=[50.0, 70.0], clouds=[1.0, 8.0])
    expected = fitted.model.predict(rows)
    np.testing.assert_allclose(answers["predictions"].numpy(), expected, rtol=1e-5, atol=1e-6)


def test_packing_again_gives_the_same_digest(fit_keras: Fit, tmp_path: Path) -> None:
    fitted = fit_keras("multiclass")
    first, second = fitted.pack(tmp_path / "a"), fitted.pack(tmp_path / "b")
    assert first.digest == second.digest


def test_another_process_writes_the_same_bytes(fit_keras: Fit, tmp_path: Path) -> None:
    """Keras counts layers in a process, and TensorFlow keeps nodes in the order of a hash."""
    fitted = fit_keras("binary")
    bundle = fitted.pack(tmp_path)
    code = """
import sys
from pathlib import Path
from ferryman.spec.loader import load_model
from ferryman.packaging.formats import write_formats
from ferryman.training.trainers import load_model_file
spec = load_model(Path(sys.argv[1])).spec
Path(sys.argv[3]).mkdir()
write_formats(load_model_file(Path(sys.argv[2]), spec), spec, Path(sys.argv[3]))
"""
    other = tmp_path / "other"
    folder = str(fitted.declared.folder)
    subprocess.run(
        [sys.executable, "-c", code, folder, str(fitted.file), str(other)], check=True, timeout=200
    )
    for name in (ONNX, f"{SAVED_MODEL}/rain/1/saved_model.pb"):
        here, there = (
            hashlib.sha256((root / name).read_bytes()).hexdigest()
            for root in (bundle.folder, other)
        )
        assert here == there, name


def test_graph_has_one_input_a_column_and_no_tensorflow_names(
    fit_keras: Fit, tmp_path: Path
) -> None:
    session = load_onnxruntime().InferenceSession(
        fit_keras("multiclass").pack(tmp_path).folder / ONNX
    )
    assert [(entry.name, entry.shape) for entry in session.get_inputs()] == [
        ("humidity", ["rows", 1]),
        ("clouds", ["rows", 1]),
    ]
    assert [(entry.name, entry.shape) for entry in session.get_outputs()] == [
        ("probability", ["rows", 3])
    ]


def test_a_corrupted_weight_blocks_the_release(
    fit_keras: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = fit_keras("multiclass")
    read = formats.open_graph

    def damaged(file: Path, columns: dict[str, FeatureSpec]) -> formats.Predict:
        graph = onnx.load(file)
        for place, entry in enumerate(graph.graph.initializer):
            values = numpy_helper.to_array(entry).copy()
            if values.shape == (6, 3):  # of the last layer: what the class `black` adds up
                values[:, 2] += 0.5
                graph.graph.initializer[place].CopyFrom(numpy_helper.from_array(values, entry.name))
        onnx.save(graph, file)
        return read(file, columns)

    monkeypatch.setattr(formats, "open_graph", damaged)
    with pytest.raises(
        IntegrityBroken, match=r"onnx and the trained model differ on \d+ of \d+ rows; the worst is"
    ) as caught:
        fitted.pack(tmp_path)
    assert "column 'black' is" in caught.value.text or "column 'clear' is" in caught.value.text
    assert "humidity=" in caught.value.text
    assert not (tmp_path / "bundles").exists()


def test_a_corrupted_saved_model_blocks_the_release(
    fit_keras: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte of a constant of the preprocessing; the file still loads."""
    fitted = fit_keras("regression")
    mean = np.array([60.0, 4.0], np.float32).tobytes()
    read = formats.open_saved_model

    def damaged(folder: Path, columns: dict[str, FeatureSpec]) -> formats.Predict:
        file = folder / "saved_model.pb"
        content = file.read_bytes()
        assert content.count(mean) == 1
        file.write_bytes(content.replace(mean, np.array([61.0, 4.0], np.float32).tobytes()))
        return read(folder, columns)

    monkeypatch.setattr(formats, "open_saved_model", damaged)
    with pytest.raises(IntegrityBroken, match=r"saved_model and the trained model differ on"):
        fitted.pack(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(IntegrityBroken, match="not a readable SavedModel"):
        read(tmp_path / "broken", fitted.declared.spec.features.columns)


def test_text_columns_are_refused(fit_keras: Fit, tmp_path: Path) -> None:
    columns = {"sky": FeatureSpec(type="category"), "clouds": FeatureSpec(type="integer")}
    estimator = fit_keras("binary").model.estimator
    with pytest.raises(SpecError, match="numbers only; text columns: sky"):
        export_keras_onnx(estimator, columns, tmp_path / "m.onnx", name="rain", task="binary")
