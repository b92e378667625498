"""A bundle is a model of MLflow's: its pyfunc and ONNX flavours answer as the trained model."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import onnx
import pandas as pd
import pytest
from packaging.requirements import Requirement

from ferryman.packaging.bundle_writer import PackedModel, write_bundle
from ferryman.spec.model import DeclaredModel
from ferryman.training.sklearn_trainer import SklearnModel
from ferryman.training.trainers import load_model_file, make_trainer

# MLflow's own, while it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*[Tt]ype hint:UserWarning")

Frames = Callable[..., pd.DataFrame]
FEATURES = ["station", "sky", "humidity", "clouds"]


@pytest.fixture
def fitted(rain: DeclaredModel, rain_frame: Frames) -> SklearnModel:
    model = make_trainer(rain.spec).fit(rain_frame(5), rain)
    assert isinstance(model, SklearnModel)
    return model


@pytest.fixture
def bundle(rain: DeclaredModel, rain_frame: Frames, fitted: SklearnModel, tmp_path: Path) -> Path:
    fitted.save(tmp_path / "model.skops")
    packed = PackedModel(
        tmp_path / "model.skops", lambda file: load_model_file(file, rain.spec), {}
    )
    return write_bundle(
        packed, rain.spec, rain_frame(5), work=tmp_path / "work", bundles_root=tmp_path / "bundles"
    ).folder


def test_pyfunc_takes_text_numbers_and_nulls(
    bundle: Path, fitted: SklearnModel, rain_frame: Frames
) -> None:
    frame = rain_frame(3, seed=8)
    answers = mlflow.pyfunc.load_model(str(bundle)).predict(frame[FEATURES])
    assert answers.shape == (len(frame),)
    assert np.abs(answers - fitted.predict(frame)).max() < 1e-5


def test_multiclass_answers_a_column_a_class(
    fit_keras: Callable[[str], Any], tmp_path: Path
) -> None:
    fitted = fit_keras("multiclass")
    model = mlflow.pyfunc.load_model(str(fitted.pack(tmp_path).folder))
    # Whole numbers that are never null are whole numbers to MLflow, too.
    rows = fitted.frame[["humidity", "clouds"]].astype({"clouds": "int64"})
    answers = model.predict(rows)
    assert list(answers.columns) == fitted.declared.spec.train.classes
    assert np.abs(answers.to_numpy() - fitted.model.predict(fitted.frame)).max() < 1e-5


def test_signature_flavours_and_requirements(bundle: Path) -> None:
    info = mlflow.models.get_model_info(str(bundle))
    assert [(column.name, str(column.type)) for column in info.signature.inputs] == [
        ("station", "DataType.string"),
        ("sky", "DataType.string"),
        ("humidity", "DataType.double"),
        ("clouds", "DataType.double"),
    ]
    assert set(info.flavors) == {"python_function", "onnx"}
    assert isinstance(mlflow.onnx.load_model(str(bundle)), onnx.ModelProto)
    lines = (bundle / "requirements.txt").read_text().splitlines()
    pinned = {Requirement(line).name for line in lines if "==" in line}
    assert {"mlflow", "onnxruntime", "numpy", "pandas"} == pinned


def test_bundle_answers_without_the_project(
    bundle: Path, fitted: SklearnModel, rain_frame: Frames, tmp_path: Path
) -> None:
    """In a process that cannot import ferryman, and where nothing may be unpickled."""
    frame = rain_frame(1, seed=2)
    frame[FEATURES].to_parquet(tmp_path / "rows.parquet")
    code = """
import sys
sys.modules["ferryman"] = None
import cloudpickle, joblib, pickle
import mlflow, pandas as pd
cloudpickle.load = cloudpickle.loads = joblib.load = pickle.load = pickle.loads = None
model = mlflow.pyfunc.load_model(sys.argv[1])
print(repr(model.predict(pd.read_parquet(sys.argv[2])).tolist()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle), str(tmp_path / "rows.parquet")],
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    answers = np.array([float(value) for value in done.stdout.strip(" []\n").split(",")])
    assert np.abs(answers - fitted.predict(frame)).max() < 1e-5
