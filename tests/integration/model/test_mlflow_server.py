"""The same training against a tracking server, artifacts through it; and what its pages read."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from training_line import Line

from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.runtime.bundle import verify
from ferryman.settings import Settings

STEPS = ("train", "evaluate", "package", "register")


@pytest.fixture
def server(line: Line, tmp_path: Path) -> Iterator[str]:
    """The address of a server on the line's database; its artifacts are elsewhere."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--backend-store-uri", line.settings.mlflow_uri]
    command += ["--artifacts-destination", (tmp_path / "remote").as_uri()]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=tmp_path,
            env={**os.environ, **quiet},
            start_new_session=True,
        )
        try:
            _wait(url, process)
            yield url
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    raise RuntimeError("the tracking server did not start")


def test_training_through_a_server(line: Line, server: str, tmp_path: Path) -> None:
    values = {**line.settings.model_dump(), "mlflow_uri": server}
    remote = Line(Settings(**values), line.model)
    results = remote.run(*STEPS)
    assert remote.run(*STEPS, run_id="r2")["register"].outputs["version"] == 1
    registry = MlflowRegistry(server, line.settings.mlflow_artifacts)
    (version,) = registry.versions("rain")
    assert version.source.startswith("mlflow-artifacts:/")
    target = tmp_path / "copy"
    target.mkdir()
    registry.download(version, target)
    verify(target, digest=str(results["register"].outputs["digest"]))

    # What MLflow's pages show, read where they read it.
    run_id = str(results["train"].outputs["mlflow_run_id"])
    shown = _get(server, "runs/get", run_id=run_id)["run"]["data"]
    params = {entry["key"]: entry["value"] for entry in shown["params"]}
    metrics = {entry["key"]: entry["value"] for entry in shown["metrics"]}
    assert params["learning_rate"] == "0.2"
    assert metrics["log_loss_high"] == results["evaluate"].metrics["log_loss_high"]
    files = _get(server, "artifacts/list", run_id=run_id, path="evaluation")["files"]
    assert {Path(entry["path"]).name for entry in files} == {
        "confusion_matrix.json",
        "confusion_matrix.png",
    }


def _get(server: str, what: str, **query: str) -> Any:
    answer = httpx.get(f"{server}/api/2.0/mlflow/{what}", params=query, timeout=30)
    answer.raise_for_status()
    return answer.json()
