"""What tests of several rooms share: a small declared model, and data that it can learn from."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from services.long_tests import is_long

if TYPE_CHECKING:
    import pandas as pd
    from services.postgres import PostgresServer

    from ferryman.spec.model import DeclaredModel

ZOO = Path(__file__).parent / "zoo"
# Files of a few long tests. They are handed out first, that no worker is left alone with one.
LONG = (
    "tests/integration/test_new_model.py",
    "tests/integration/replay/test_replay.py",
    "tests/integration/serving/test_autoscaling.py",
    "tests/integration/model/test_keras_trainer.py",
    "tests/integration/release/test_release_crashes.py",
    "tests/integration/release/test_release_machine.py",
    "tests/integration/release/test_release_race.py",
    "tests/integration/release/test_release_kills.py",
    "tests/integration/release/test_controller_killed.py",
    "tests/integration/release/test_mlflow_dies.py",
    "tests/integration/monitoring/test_batch_killed.py",
    "tests/integration/monitoring/test_false_alarms.py",
    "tests/integration/release/test_bad_candidates.py",
    "tests/integration/release/test_ledger_cannot_write.py",
    "tests/integration/release/test_ledger_machine.py",
    "tests/integration/release/test_release_steps.py",
    "tests/integration/release/test_drill.py",
    "tests/integration/release/test_rollback.py",
    "tests/integration/release/test_rollout_steps.py",
    "tests/integration/release/test_rollout_strategies.py",
    "tests/integration/release/test_late_verdict.py",
    "tests/integration/serving/test_kills.py",
    "tests/integration/serving/test_queue.py",
    "tests/integration/serving/test_shadow.py",
    "tests/integration/serving/test_traffic.py",
    "tests/integration/serving/test_orphaned_shares.py",
    "tests/integration/serving/test_late_labels.py",
    "tests/integration/release/test_drill_conditions.py",
    "tests/integration/model/test_keras_workers.py",
    "tests/integration/tasks",
    "tests/dags/test_approval.py",
    "tests/dags/test_hostile_words.py",
    "tests/dags/test_warm_up.py",
    "tests/dags/test_import_cost.py",
    "tests/dags/test_drill_dag.py",
    "tests/dags/test_exposure.py",
    "tests/dags/test_inline_step.py",
    "tests/dags/test_triggerer.py",
    "tests/dags/test_release_faults.py",
    "tests/dags/test_lineage_events.py",
    "tests/dags/test_task_links.py",
    "tests/model_zoo",
)

# What takes half a minute and more, but for the steps of a training and of a release: `make
# test-slow` runs these, `make test` all others.
SLOW = (
    "tests/dags/test_approval.py",
    "tests/dags/test_dashboards.py",
    "tests/dags/test_drill_dag.py",
    "tests/dags/test_hostile_words.py",
    "tests/dags/test_release_faults.py",
    "tests/dags/test_triggerer.py",
    "tests/dags/test_warm_up.py",
    "tests/e2e/test_alerts_remedied.py",
    "tests/e2e/test_canary_and_rollback.py",
    "tests/e2e/test_in_a_browser.py",
    "tests/e2e/test_later_trainings.py",
    "tests/e2e/test_monitoring_and_retraining.py",
    "tests/integration/model/test_explanation.py",
    "tests/integration/model/test_keras_trainer.py",
    "tests/integration/model/test_keras_workers.py",
    "tests/integration/model/test_killed_anywhere.py",
    "tests/integration/model/test_mlflow_first_start.py",
    "tests/integration/model/test_search_budget.py",
    "tests/integration/monitoring/test_batch_killed.py",
    "tests/integration/monitoring/test_false_alarms.py",
    "tests/integration/monitoring/test_planted_culprits.py",
    "tests/integration/release/test_bad_candidates.py",
    "tests/integration/release/test_controller_killed.py",
    "tests/integration/release/test_drill.py",
    "tests/integration/release/test_drill_conditions.py",
    "tests/integration/release/test_guard.py",
    "tests/integration/release/test_late_verdict.py",
    "tests/integration/release/test_ledger_cannot_write.py",
    "tests/integration/release/test_ledger_machine.py",
    "tests/integration/release/test_ledger_race.py",
    "tests/integration/release/test_mlflow_dies.py",
    "tests/integration/release/test_release_crashes.py",
    "tests/integration/release/test_release_kills.py",
    "tests/integration/release/test_release_machine.py",
    "tests/integration/release/test_release_race.py",
    "tests/integration/release/test_rollback.py",
    "tests/integration/release/test_rollout_steps.py",
    "tests/integration/release/test_rollout_strategies.py",
    "tests/integration/replay",
    "tests/integration/serving/test_autoscaling.py",
    "tests/integration/serving/test_kept_labels.py",
    "tests/integration/serving/test_killed_server_alert.py",
    "tests/integration/serving/test_kills.py",
    "tests/integration/serving/test_orphaned_shares.py",
    "tests/integration/serving/test_queue.py",
    "tests/integration/serving/test_shadow.py",
    "tests/integration/serving/test_traffic.py",
    "tests/integration/tasks",
    "tests/integration/test_new_model.py",
)

# The same examples in every run, as of the seeds: what is found anew belongs to `make test-long`,
# and then into the test as an @example.
# A busy machine is no failure.
settings.register_profile(
    "same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default" if is_long() else "same")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; with `--no-loadscope-reorder` workers take files in this order."""
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture
def rain(tmp_path: Path) -> "DeclaredModel":
    """The model `rain` in a folder of this test's own, to be changed at will."""
    from ferryman.spec.loader import load_model

    shutil.copytree(ZOO / "rain", tmp_path / "zoo" / "rain")
    return load_model(tmp_path / "zoo" / "rain")


@pytest.fixture(scope="session")
def rain_hours() -> "Callable[..., pd.DataFrame]":
    """A function (days, seed=0) -> the source's rows: four stations, every hour, some nulls."""

    def make(days: int, seed: int = 0, start: str = "2024-01-01") -> "pd.DataFrame":
        import numpy as np
        import pandas as pd

        generator = np.random.default_rng(seed)
        hours = pd.date_range(start, periods=days * 24, freq="h", tz="UTC")
        frame = pd.DataFrame(
            [(at, station) for at in hours for station in ("north", "south", "east", "west")],
            columns=["observed_at", "station"],
        )
        rows = len(frame)
        frame["sky"] = generator.choice(["clear", "grey", "black"], rows)
        frame["humidity"] = generator.normal(60, 15, rows)
        frame["clouds"] = generator.integers(0, 9, rows).astype("float64")
        logit = (
            0.06 * (frame["humidity"] - 70)
            + 1.2 * (frame["sky"] == "black")
            + 0.2 * (frame["clouds"] - 4)
        )
        wet = generator.random(rows) < 1 / (1 + np.exp(-logit))
        frame["millimetres"] = np.where(wet, generator.exponential(2, rows) + 0.1, 0.0)
        for name in ("sky", "humidity", "clouds"):
            frame.loc[generator.random(rows) < 0.05, name] = None
        return frame

    return make


@pytest.fixture
def rain_frame(
    rain_hours: "Callable[..., pd.DataFrame]",
) -> "Callable[..., pd.DataFrame]":
    """A function (days, seed=0) -> a training frame as the dataset store gives it."""

    def make(days: int, seed: int = 0) -> "pd.DataFrame":
        hours = rain_hours(days, seed)
        hours["label"] = hours.pop("millimetres") > 0
        hours["sky"] = hours["sky"].fillna("")
        hours["event_time"] = hours["observed_at"]
        hours["entity_key"] = hours["station"] + "|" + hours.pop("observed_at").astype(str)
        return hours

    return make


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fresh `mlflow.db`: making one takes seconds, copying the folder nothing."""
    from ferryman.registry.mlflow_connection import prepare

    folder = tmp_path_factory.mktemp("mlflow")
    prepare(f"sqlite:///{folder / 'mlflow.db'}")
    return folder


@pytest.fixture(scope="session")
def postgres() -> "Iterator[PostgresServer]":
    """A PostgreSQL of this session's own, in a folder that its own user may enter."""
    from services.postgres import MISSING, find_programs, postgres_server

    if find_programs() is None:
        pytest.skip(MISSING)
    with (
        tempfile.TemporaryDirectory(prefix="ferryman-postgres-") as folder,
        postgres_server(Path(folder)) as server,
    ):
        yield server
