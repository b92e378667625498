"""Runs the training steps of `rain` again and again, killed ever later; then says what is there.

Usage: kill_script.py HOME SOURCE ZOO. Prints JSON. Each attempt is a fork that kills itself with
SIGKILL at its Nth write to the file system or opening of the database.
"""

import importlib
import json
import os
import signal
import sys
from pathlib import Path

from ferryman.catalog import find_model
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.settings import Settings
from ferryman.steps.contract import run_step

STEPS = ("train", "evaluate", "package", "register")
EVENTS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "shutil.copyfile"}


# Imported before the forks, so that these are quick.
HEAVY = (
    "matplotlib.backends.backend_agg",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "skl2onnx",
    "skops.io",
    "sklearn.ensemble",
    *(f"ferryman.steps.{step}" for step in STEPS),
)


def run_steps(settings: Settings) -> dict[str, StepResult]:
    model = find_model(settings.zoo, "rain")
    results: dict[str, StepResult] = {}
    for step in STEPS:
        request = StepRequest(
            model="rain",
            step=step,
            run_id="r1",
            run_uri=str(settings.runs_root / "rain" / "training" / "r1"),
            spec_digest=model.digest,
            results=dict(results),
        )
        results[step] = run_step(request, model, settings)
    return results


def die_at(count: int) -> None:
    left = [count]

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        writes = (
            event == "open" and isinstance(arguments[1], str) and set("wax+") & set(arguments[1])
        )
        if event in EVENTS or writes or event == "sqlite3.connect":
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def attempt(settings: Settings, count: int) -> bool:
    """Whether the steps finished before the kill."""
    child = os.fork()
    if child == 0:
        try:
            die_at(count)
            run_steps(settings)
        except BaseException:  # noqa: BLE001 - the fork must never return to the loop
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return False
    if os.WEXITSTATUS(status) != 0:
        raise RuntimeError(f"attempt {count} failed by itself")
    return True


def main() -> None:
    home, source, zoo = (Path(argument) for argument in sys.argv[1:])
    settings = Settings(home=home, source_root=source, zoo=zoo, code_version="test")
    for name in HEAVY:
        importlib.import_module(name)
    kills, count = 0, 0
    while not attempt(settings, count):
        kills += 1
        count += 2 + count // 4
    from ferryman.registry.mlflow_connection import connect
    from ferryman.registry.mlflow_registry import MlflowRegistry

    outputs = run_steps(settings)["register"].outputs
    client = connect(settings.mlflow_uri)
    experiment = client.get_experiment_by_name("rain")
    versions = MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts).versions("rain")
    report = {
        "kills": kills,
        "outputs": outputs,
        "runs": [run.info.status for run in client.search_runs([experiment.experiment_id])],
        "versions": len(versions),
        "bundles": sorted(
            entry.name
            for entry in (settings.bundles_root / "rain").iterdir()
            if not entry.name.startswith(".")
        ),
    }
    sys.stdout.write(json.dumps(report))


main()
