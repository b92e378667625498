"""`python -m benchmarks.orchestration [--rounds N]`: three ways to run one training graph, in turn.

warm      the stack that `make run` starts: fork server with preload, short scheduler sleep; by REST
script    the same steps as one plain Python script in a new interpreter
default   the same graph by REST in Airflow with its own defaults (fork, one second of sleep)

All three read the same snapshots; each has a home, a ledger and an MLflow of its own.
"""

import argparse
import contextlib
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ferryman.runtime.ports import free_ports
from ferryman_airflow.stack.airflow_config import read_password
from ferryman_airflow.stack.rest import AirflowApi
from ferryman_airflow.stack.settings import StackSettings

MODEL = "flights"
CUTOFF = datetime(2013, 3, 15, tzinfo=UTC)
DAYS = 45
STEPS = ("train", "evaluate", "package", "register")
_TOOK = re.compile(r"the step took ([0-9.]+) s and imported ([0-9]+) modules")


@dataclass
class Measured:
    """Wall seconds of each run; seconds inside the steps; modules that the steps imported."""

    walls: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)
    modules: list[int] = field(default_factory=list)

    @property
    def wall(self) -> float:
        return statistics.median(self.walls)

    @property
    def outside_per_task(self) -> float:
        outside = [wall - inside for wall, inside in zip(self.walls, self.inside, strict=True)]
        return statistics.median(outside) / len(STEPS)


def environment(home: Path, data: Path, **values: object) -> dict[str, str]:
    # Code without a version is fitted every time: else the rounds would take the first one's model.
    given = {"HOME": home, "DATA_ROOT": data, "CODE_VERSION": "unknown", **values}
    return {**os.environ, **{f"FERRYMAN_{name.upper()}": str(v) for name, v in given.items()}}


@contextlib.contextmanager
def running_stack(home: Path, data: Path, *, warm: bool) -> Iterator[AirflowApi]:
    airflow, mlflow, serving, admin = free_ports(4)
    environ = environment(
        home / "ferryman",
        data,
        airflow_home=home / "airflow",
        airflow_port=airflow,
        mlflow_port=mlflow,
        serving_port=serving,
        serving_admin_port=admin,
        fork_server=str(warm).lower(),
    )
    command = [sys.executable, "-m", "ferryman_airflow.stack", "up", "--no-live"]
    home.mkdir()
    output = home / "output.txt"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            command, env=environ, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        while "Ctrl-C ends everything" not in output.read_text():
            if process.poll() is not None:
                raise SystemExit(output.read_text())
            time.sleep(0.2)
        stack = StackSettings(airflow_home=home / "airflow", airflow_port=airflow)
        api = AirflowApi(stack.airflow_url, stack.user, read_password(stack))
        with closing(api):
            while not api.has_dag(f"{MODEL}.training"):
                time.sleep(0.2)
            api.unpause(f"{MODEL}.training")
            yield api
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=90)


def by_rest(api: AirflowApi, name: str, into: Measured) -> None:
    """One run by REST; its wall time is the run's own: from the request to its end."""
    dag = f"{MODEL}.training"
    api.trigger(dag, name, {"cutoff": f"{CUTOFF:%Y-%m-%d}"})
    run = api.wait(dag, name, timeout=300)
    begin, end = (datetime.fromisoformat(run[key]) for key in ("queued_at", "end_date"))
    inside, modules = 0.0, 0
    for step in STEPS:
        found = _TOOK.search(" ".join(api.log(dag, name, step, 1)))
        if found is None:
            raise SystemExit(f"{name}: no time in the log of {step}")
        inside += float(found[1])
        modules += int(found[2])
    into.walls.append((end - begin).total_seconds())
    into.inside.append(inside)
    into.modules.append(modules)


def by_stack(home: Path, data: Path, into: Measured, rounds: int, *, fork_server: bool) -> None:
    """Rounds in a stack of their own; the first run after its start is not counted."""
    print(f"starting {home.name} Airflow ...")
    with running_stack(home, data, warm=fork_server) as api:
        by_rest(api, "first", Measured())
        for number in range(rounds):
            time.sleep(2)
            by_rest(api, f"round-{number}", into)


def by_script(home: Path, data: Path, name: str, into: Measured) -> None:
    command = [sys.executable, str(Path(__file__).with_name("plain_script.py"))]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, MODEL, name, f"{CUTOFF:%Y-%m-%dT00:00:00Z}"],
        env=environment(home, data),
        check=True,
        capture_output=True,
        text=True,
    )
    into.walls.append(time.perf_counter() - start)
    into.inside.append(sum(float(line.split()[1]) for line in done.stdout.splitlines()))


def prepare_data(home: Path, data: Path) -> None:
    first = CUTOFF - timedelta(days=DAYS)
    span = f"{first:%Y-%m-%d}..{CUTOFF - timedelta(days=1):%Y-%m-%d}"
    command = [str(Path(sys.executable).with_name("ferryman")), "run", "ingest", "--model", MODEL]
    subprocess.run([*command, "--window", span], env=environment(home, data), check=True)


def report(warm: Measured, script: Measured, default: Measured) -> None:
    load = os.getloadavg()[1]
    print(f"\nmedian of {len(warm.walls)} runs, {len(STEPS)} steps each, seconds (load {load:.1f})")
    print(f"{'':24}{'wall':>8}{'in steps':>10}{'outside/task':>14}{'vs script':>11}")
    for name, one in (("warm Airflow", warm), ("plain script, cold", script), ("default", default)):
        inside = statistics.median(one.inside)
        print(
            f"{name:24}{one.wall:8.2f}{inside:10.2f}{one.outside_per_task:14.3f}"
            f"{one.wall / script.wall:11.2f}"
        )
    modules = max(warm.modules)
    goals = {
        f"warm run / cold script {warm.wall / script.wall:.2f}, at most 1": warm.wall
        <= script.wall,
        f"outside the steps {warm.outside_per_task:.3f} s a task, at most 0.3": (
            warm.outside_per_task <= 0.3
        ),
        f"modules imported in a warm run's steps: {modules} (default: {max(default.modules)})": (
            modules <= 20
        ),
    }
    for text, held in goals.items():
        print(f"{'held  ' if held else 'MISSED'}  {text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    warm, script, default = Measured(), Measured(), Measured()
    with tempfile.TemporaryDirectory(prefix="ferryman-bench-") as folder:
        root = Path(folder)
        data = root / "data"
        print("preparing the data ...")
        prepare_data(root / "script", data)
        # One after the other: an idle stack beside the measured one would take part of a core.
        by_stack(root / "warm", data, warm, rounds, fork_server=True)
        for number in range(rounds):
            by_script(root / "script", data, f"round-{number}", script)
        by_stack(root / "default", data, default, rounds, fork_server=False)
    report(warm, script, default)


if __name__ == "__main__":
    main()
