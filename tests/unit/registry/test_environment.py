"""The environment that a training is tracked with."""

import importlib.metadata
import json
import platform

from ferryman.registry.environment import environment_files, installed_packages


def test_packages_are_those_that_are_imported() -> None:
    lines = installed_packages()
    assert lines == sorted(lines)
    assert len(lines) == len(set(lines)) > 50
    for name in ("numpy", "scikit-learn", "mlflow", "pydantic-settings"):
        assert f"{name}=={importlib.metadata.version(name)}" in lines


def test_files_name_the_interpreter() -> None:
    files = environment_files()
    assert set(files) == {"python.json", "requirements.txt"}
    assert json.loads(files["python.json"])["python"] == platform.python_version()
    assert b"\nnumpy==" in files["requirements.txt"]
