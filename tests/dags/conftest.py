"""Airflow for tests: a home of its own, set before anything imports airflow, never ~/airflow."""

import atexit
import contextlib
import json
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
        # A DAG that a test declares anew is another one at once.
        "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
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


@pytest.fixture(scope="session")
def airflow_api() -> Callable[..., Any]:
    """Airflow's own API application: airflow_api(folder, {user: role}); passwords USER-password."""

    @contextlib.contextmanager
    def serve(folder: Path, users: dict[str, str]) -> Iterator[Any]:
        from airflow.api_fastapi.app import create_app, purge_cached_app
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.utils.db import initdb
        from fastapi.testclient import TestClient

        initdb()
        DagBundlesManager().sync_bundles_to_db()
        file = folder / "passwords.json"
        file.write_text(json.dumps({name: f"{name}-password" for name in users}))
        named = ",".join(f"{name}:{role}" for name, role in users.items())
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", named)
            patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(file))
            patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a-secret-of-these-tests-" + "0" * 40)
            purge_cached_app()
            app = create_app(apps="core")
            with TestClient(app, base_url="http://127.0.0.1") as client:
                yield client
            purge_cached_app()

    return serve
