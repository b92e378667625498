"""The same training against a tracking server, artifacts through it; and what its pages read."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from services.mlflow_server import MlflowServer
from small_bundles import free_ports
from training_line import Line

from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.runtime.bundle import verify
from ferryman.settings import Settings

__all__ = ["free_ports"]

STEPS = ("train", "evaluate", "package", "register")


@pytest.fixture
def server(line: Line, tmp_path: Path, free_ports: Callable[[int], list[int]]) -> Iterator[str]:
    """The address of a server on the line's database; its artifacts are elsewhere."""
    served = MlflowServer(tmp_path, line.settings.mlflow_uri, free_ports(1)[0])
    served.start()
    yield served.url
    served.end()


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
