"""What the shipped dashboards look at, all of it real.

A server under load with a candidate's share, nights of monitoring, Airflow's tables with runs that
ended, and a Prometheus that reads them.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from line_candidates import LINE, make_line, share_of
from lived_nights import Past
from release_world import _day_tables, declare
from served_world import TRAINED, at
from services.prometheus import Prometheus
from services.request_load import RequestLoad, post

from ferryman.catalog import load_catalog
from ferryman.data.windows.profile import profile_table
from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.ledger.costs import CostTable, StepCost
from ferryman.runtime.bundle import REFERENCE
from ferryman.runtime.endpoints import endpoint_of
from ferryman.runtime.files import write_json
from ferryman.runtime.ports import free_ports
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings
from ferryman.spec.servers import ServerSpec

RATE = 25.0  # requests a second of each of KEYS
KEYS = 6
PARTS = """\
  fairness: [{column: carrier, metric: false_negative_rate, max_gap: 0.2}]
evaluation: {slices: [{column: carrier}, {column: hour}]}
"""


@contextmanager
def served_load(folder: Path) -> Iterator[tuple[str, list[RequestLoad]]]:
    """A server of `line` whose candidate has half of the requests; its address, and its load."""
    port, admin_port = free_ports(2)
    settings = Settings(home=folder, serving_port=port, serving_admin_port=admin_port)
    server = ServerSpec(replicas=2)
    deployer, made = ProcessDeployer(settings, "main", server), settings.bundles_root
    champion, candidate = make_line(made), make_line(made, 3.0)
    deployer.start()
    try:
        with ServingClient(endpoint_of(settings, "main", server)) as client, ExitStack() as stack:
            where = {"bundle": str(champion.folder), "digest": champion.digest}
            client.load(LINE, version=1, epoch=1, **where)
            client.expose(LINE, share_of(candidate, lease=300.0), str(candidate.folder))
            path = f"/v1/models/{LINE}:predict"
            loads = []
            for key in range(KEYS):
                body = f'{{"instances": [{{"x": 1.0, "k": {key}}}]}}'.encode()
                load = stack.enter_context(RequestLoad("127.0.0.1", port, post(path, body)))
                load.become(connections=1, rate=RATE)
                loads.append(load)
            yield f"127.0.0.1:{port}", loads
    finally:
        deployer.stop()


def make_costs(settings: Settings) -> None:
    """What a training of `tiny` cost."""
    table, now = CostTable(settings.ledger_url), datetime.now(UTC)
    for step, cpu in (("ingest", 3.0), ("train", 42.0), ("package", 8.0)):
        table.add(StepCost("tiny", "r", "training", step, "done", now, cpu / 2, cpu, 300 << 20))


def make_runs(client: Any, user: dict[str, str]) -> None:
    """Runs of `tiny.monitoring` that succeeded, failed and wait, and a scheduler's heartbeat."""
    from airflow.jobs.job import Job
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    states = dict.fromkeys(_triggered(client, user, "tiny.monitoring", 3), "success")
    first, second, *_ = states
    states[first], states[second] = "failed", "queued"
    now = datetime.now(UTC)
    with create_session() as session:
        for run in session.query(DagRun).filter(DagRun.run_id.in_(states)):
            state = states[run.run_id]
            run.set_state(state)
            if state == "queued":
                continue
            run.start_date, run.end_date = now - timedelta(minutes=9), now - timedelta(minutes=2)
            mine = session.query(TaskInstance).filter(TaskInstance.run_id == run.run_id)
            for place, task in enumerate(mine):
                task.state, task.duration = state, 2.0 + place
                task.start_date, task.end_date = run.start_date, run.end_date
        session.add(Job(job_type="SchedulerJob", state="running", latest_heartbeat=now))


def _triggered(client: Any, user: dict[str, str], dag: str, count: int) -> list[str]:
    made = []
    for number in range(count):
        due = datetime.now(UTC) - timedelta(minutes=10 + number)
        body = {"logical_date": None, "run_after": due.isoformat(), "conf": {}}
        answer = client.post(f"/api/v2/dags/{dag}/dagRuns", headers=user, json=body)
        assert answer.status_code == 200, answer.text
        made.append(str(answer.json()["dag_run_id"]))
    return made


def prometheus_config(shipped: dict[str, Any], server: str, airflow: str, token: Path) -> Any:
    """The shipped configuration, at these addresses, every second and without alerts."""
    every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1h"}
    servers, installation = shipped["scrape_configs"]
    servers["static_configs"][0]["targets"] = [server]
    installation["static_configs"][0]["targets"] = [airflow]
    installation["authorization"]["credentials_file"] = str(token)
    installation |= {"scrape_interval": "2s", "scrape_timeout": "2s"}
    return {"global": every, "scrape_configs": [servers, installation]}


def past_with_profiles(folder: Path, make_bundle: Any, nights: range) -> Past:
    """Nights whose champion knows what its training data looked like, by slices and groups."""
    file = declare(folder / "zoo").file
    file.write_text(file.read_text() + PARTS)

    def made(root: Path, *given: Any, **named: Any) -> Any:
        bundle = make_bundle(root, *given, **named)
        columns = load_catalog(folder / "zoo").models["tiny"].spec.features.columns
        trained = pa.concat_tables([_day_tables(day)[0] for day in range(TRAINED)])
        write_json(bundle.folder / REFERENCE, profile_table(trained, columns))
        return bundle

    return Past(folder, made, nights)


def _worse(_: Any, labels: Any) -> Any:
    """A third of the labels are others."""
    changed = labels.copy()
    changed[::3] = ~changed[::3]
    return changed


def _later(past: Past, day: int) -> None:
    """A day's answers again: every event is some hours later than events ever were."""
    features = _day_tables(day)[0]
    place = features.schema.get_field_index("hour")
    hours = pc.add(features["hour"], 9)
    past.world._log(day, features.set_column(place, "hour", hours))


def live_on(past: Past, nights: range, ask: Callable[[str], list[Any]]) -> None:
    """Live further nights; each is seen before the next one begins.

    The last two days' labels are odd, and in the last night the data have drifted.
    """
    end = "ferryman_monitored_window_end_timestamp_seconds"
    for day in nights:
        past.world.serve(day, _worse if day >= nights.stop - 2 else None)
        past.world.serve(day + 1)
        if day == nights[-1]:
            _later(past, day)
        past.run(day)
        deadline = time.monotonic() + 60
        while not ask(f"{end} == {at(day).end.timestamp():.0f}"):
            assert time.monotonic() < deadline, f"night {day} was not read"
            time.sleep(0.2)


@contextmanager
def watched(
    folder: Path, config: Callable[[str], Any]
) -> Iterator[tuple[Prometheus, list[RequestLoad]]]:
    """A Prometheus that reads a server under load, and what else `config` says of its address."""
    with (
        served_load(folder / "served") as (server, loads),
        Prometheus(folder / "prometheus", {}, config(server)) as prometheus,
    ):
        yield prometheus, loads
