"""Airflow for tests: a home of its own, set before anything imports airflow, never ~/airflow."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
_HOME = Path(tempfile.mkdtemp(prefix="ferryman-airflow-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)

os.environ.update(
    {
        "AIRFLOW_HOME": str(_HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME / 'airflow.db'}",
        "AIRFLOW__DAG_PROCESSOR__DAG_VERSION_INFLATION_CHECK_LEVEL": "error",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
)


@pytest.fixture
def settings_from(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Set FERRYMAN_* variables for one test: settings_from(zoo=path, home=path)."""
    from ferryman.settings import load_settings

    def apply(**values: object) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"FERRYMAN_{name.upper()}", str(value))
        load_settings.cache_clear()

    load_settings.cache_clear()
    yield apply
    load_settings.cache_clear()


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """A zoo with two good models: flights, and a copy of it named `other`."""
    folder = tmp_path / "zoo"
    source = ROOT / "include" / "model_zoo" / "flights"
    for name in ("flights", "other"):
        shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        file = folder / name / "model.yaml"
        file.write_text(file.read_text().replace("name: flights", f"name: {name}", 1))
    return folder


@pytest.fixture
def load_dags() -> Callable[[], Any]:
    """Read dags/ as the DAG processor does."""

    def load() -> Any:
        from airflow.dag_processing.dagbag import DagBag

        return DagBag(str(ROOT / "dags"))

    return load
