"""What runs in a replay's worker processes: ingesting a stretch of days, living one policy.

Functions here are called by name in a new process; they take and return plain values.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from ferryman.errors import DependencyUnavailable
from ferryman.replay.life import PolicyLife
from ferryman.replay.plan import Policy, ReplayPlan
from ferryman.spec.windows import Window
from ferryman.steps.journey import Journey
from ferryman.steps.pipelines import PIPELINES


def limit_threads() -> None:
    """Hold every library of this process to one thread: two workers share the machine's cores."""
    import pyarrow as pa
    import sklearn.ensemble  # noqa: F401 - only loaded libraries can be limited
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=1)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(2)


def ingest_days(plan: ReplayPlan, start: datetime, end: datetime) -> int:
    """Ingest and validate the days [start, end) for all policies; returns how many days."""
    window = Window(start=start, end=end)
    journey = Journey(plan.shared_settings, plan.model)
    pipeline = PIPELINES["ingest"]
    for step in pipeline.steps:
        journey.run_one(pipeline, step, f"replay-{start:%Y%m%d}-{end:%Y%m%d}", window, {})
    return len(list(window.days()))


def live_policy(plan: ReplayPlan, policy: Policy, parent: int) -> None:
    """Live one policy in its own home, with a serving process of its own that ends with it.

    `parent` is the process id that started the replay: when it is gone, the life stops after the
    current day, and can be continued.
    """
    from ferryman.deployment.process_deployer import ProcessDeployer
    from ferryman.steps.reconcile import reconcile_all

    with _alone(plan.policy_home(policy)):
        port, admin_port = _free_ports(plan.settings.serving_host)
        settings = plan.policy_settings(policy, port=port, admin_port=admin_port)
        deployer = ProcessDeployer(settings)
        deployer.stop()  # one that a killed replay left behind; its port is not ours
        deployer.start()
        try:
            # A replay that was killed between commit and projection left them different.
            reconcile_all(settings)
            PolicyLife(plan, policy, settings).live(lambda: os.getppid() == parent)
        finally:
            deployer.stop()


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold a policy's home for this process; the system lets go of it, however the process ends."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DependencyUnavailable(
                f"{home}: another replay lives here",
                remedy="Wait until it has ended, or end it; this one then continues its work.",
            ) from error
        yield


def _free_ports(host: str) -> tuple[int, int]:
    """Two ports that are free now; both are held until both are known."""
    with socket.socket() as first, socket.socket() as second:
        first.bind((host, 0))
        second.bind((host, 0))
        return int(first.getsockname()[1]), int(second.getsockname()[1])
