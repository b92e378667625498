"""Makes a bundle's folder a model of MLflow's, too: `mlflow.pyfunc.load_model(folder)` answers.

MLflow's own writer would add a time and a random id, which would give equal models two digests, and
its ONNX flavour alone cannot feed columns of different types: it hands each over as a vector.
"""

import importlib.util
import json
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from ferryman.runtime.bundle import ONNX, SIGNATURE, FeatureColumn, Signature

MLMODEL = "MLmodel"
_CODE = "pyfunc_model.py"
_PACKAGES = ("mlflow", "numpy", "onnxruntime", "pandas")
_BUILD = ("pip", "setuptools", "wheel")


def write_mlflow_format(folder: Path, signature: Signature, model: str) -> None:
    """Write MLmodel and the files that it names; equal models give equal bytes."""
    code = importlib.util.find_spec("ferryman.packaging.pyfunc_model")
    if code is None or code.origin is None:
        raise FileNotFoundError(_CODE)
    shutil.copyfile(code.origin, folder / _CODE)
    requirements = [f"{name}=={version(name)}" for name in _PACKAGES]
    _write(folder / "requirements.txt", "\n".join(requirements) + "\n")
    python = platform.python_version()
    environment = {
        "python": python,
        "build_dependencies": [*_BUILD],
        "dependencies": ["-r requirements.txt"],
    }
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": requirements}],
    }
    _write(folder / "python_env.yaml", yaml.safe_dump(environment))
    _write(folder / "conda.yaml", yaml.safe_dump(conda))
    _write(folder / MLMODEL, yaml.safe_dump(_mlmodel(signature, model, python)))


def _mlmodel(signature: Signature, model: str, python: str) -> dict[str, Any]:
    environment = {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}
    return {
        "flavors": {
            "python_function": {
                "loader_module": "mlflow.pyfunc.loaders.code_model",
                "model_code_path": _CODE,
                "artifacts": {
                    name: {"path": file, "uri": file}
                    for name, file in (("graph", ONNX), ("signature", SIGNATURE))
                },
                "code": None,
                "env": environment,
                "python_version": python,
                "streamable": False,
            },
            "onnx": {
                "data": ONNX,
                "code": None,
                "onnx_version": version("onnx"),
                "providers": ["CPUExecutionProvider"],
            },
        },
        "mlflow_version": version("mlflow"),
        "metadata": {"ferryman_model": model, "ferryman_task": signature.task},
        "signature": _signature(signature),
    }


def _signature(signature: Signature) -> dict[str, Any]:
    """The columns in MLflow's words."""
    inputs = [
        {"name": column.name, "type": _type(column), "required": True}
        for column in signature.features
    ]
    outputs: list[dict[str, Any]] = [
        {"name": name, "type": "double", "required": True} for name in signature.classes
    ] or [{"type": "double", "required": True}]
    return {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None}


def _type(column: FeatureColumn) -> str:
    """MLflow converts no whole numbers to doubles; a null makes them doubles in a frame."""
    if column.type == "category":
        return "string"
    return "long" if column.type == "integer" and not column.nullable else "double"


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
