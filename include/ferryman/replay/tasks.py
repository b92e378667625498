"""The tasks of a replay's processes: ingesting a stretch of days, living one policy."""

import fcntl
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TextIO

from ferryman.errors import DependencyUnavailable
from ferryman.replay.lanes import KeepGoing
from ferryman.replay.life import PolicyLife
from ferryman.replay.plan import Policy, ReplayPlan
from ferryman.runtime.ports import free_ports
from ferryman.runtime.run_store import run_folder, run_results
from ferryman.spec.windows import Window
from ferryman.steps.journey import Journey
from ferryman.steps.pipelines import PIPELINES

_WAIT_SECONDS = 60.0


def ingest_run(start: datetime, end: datetime) -> str:
    """The run id of ingesting the days [start, end)."""
    return f"replay-{start:%Y%m%d}-{end:%Y%m%d}"


def are_ingested(plan: ReplayPlan, start: datetime, end: datetime) -> bool:
    """Whether these days were ingested and validated before."""
    pipeline = PIPELINES["ingest"]
    run_id = ingest_run(start, end)
    settings = plan.shared_settings
    folder = run_folder(settings.runs_root, plan.model.name, pipeline.name, run_id)
    return pipeline.steps[-1] in run_results(folder)


def ingest_days(plan: ReplayPlan, start: datetime, end: datetime, keep_going: KeepGoing) -> None:
    """Ingest and validate the days [start, end) for all policies."""
    _settle()
    window = Window(start=start, end=end)
    journey = Journey(plan.shared_settings, plan.model)
    pipeline = PIPELINES["ingest"]
    for step in pipeline.steps:
        if keep_going():
            journey.run_one(pipeline, step, ingest_run(start, end), window, {})


def live_policy(plan: ReplayPlan, policy: Policy, keep_going: KeepGoing) -> None:
    """Live one policy in its own home, with a serving process of its own that ends with it."""
    from ferryman.deployment.process.process_deployer import ProcessDeployer
    from ferryman.steps.reconcile import reconcile_all

    _settle()
    with _alone(plan.policy_home(policy)):
        port, admin_port = free_ports(2, plan.settings.serving_host)
        settings = plan.policy_settings(policy, port=port, admin_port=admin_port)
        deployer = ProcessDeployer(settings)
        deployer.stop()  # one that a killed replay left behind; its port is not ours
        deployer.start()
        try:
            # A replay that was killed between commit and projection left them different.
            reconcile_all(settings)
            PolicyLife(plan, policy, settings).live(keep_going)
        finally:
            deployer.stop()


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold a policy's home for this process; the system lets go of it, however the process ends.

    Waits a little: what a killed replay left running ends with the day that it lives in.
    """
    home.mkdir(parents=True, exist_ok=True)
    give_up = time.monotonic() + _WAIT_SECONDS
    with (home / "lock").open("w") as lock:
        while not _locked(lock):
            if time.monotonic() > give_up:
                raise DependencyUnavailable(
                    f"{home}: another replay lives here",
                    remedy="Wait until it has ended, or end it; this one then continues its work.",
                )
            time.sleep(0.2)
        yield


def _locked(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _settle() -> None:
    """Hold every library of this process to one thread, as lanes share the machine; less noise."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table that it makes
    import pyarrow as pa
    import sklearn.ensemble  # noqa: F401 - only loaded libraries can be limited
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=1)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(2)
