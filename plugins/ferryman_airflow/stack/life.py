"""Carries one model from raw data to a served prediction, through Airflow's REST API.

Every step looks first: what an earlier `make run` finished is not done again.
"""

import json
import shlex
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape

from ferryman.data.versions.snapshots import Snapshot, SnapshotStore
from ferryman.errors import DependencyUnavailable
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Head
from ferryman.runtime.data_store import open_own_data_store
from ferryman.runtime.run_store import run_folder
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.spec.windows import DAY, Window, day_window, format_time
from ferryman_airflow.stack.rest import AirflowApi, RunFailed
from ferryman_airflow.stack.settings import TRAINING_POOL

_PATIENCE = 900.0  # seconds for one run, on a busy machine
_OURS = "make-run-"  # how the ids of our own runs begin
_WEEKS_BACK = 4
_MARKS = {"success": "[green]done[/]", "skipped": "[yellow]skipped[/]"}


@dataclass(frozen=True)
class Outcome:
    """What the life led to: the head, the gate's words, and one live prediction."""

    head: Head
    gate: str
    row: dict[str, Any]
    probability: float
    answered_by: str
    curl: str


class Life:
    """One model's way through its four DAGs."""

    def __init__(
        self, api: AirflowApi, settings: Settings, model: DeclaredModel, console: Console
    ) -> None:
        self.api = api
        self.settings = settings
        self.model = model
        self.console = console
        self.today = day_window(datetime.now(UTC)).start
        self._followed: set[str] = set()

    def live(self) -> Outcome:
        """Data, then a champion if there is none, then a night's monitoring, then a prediction."""
        self._wait_for_dags()
        pool = self.settings.training_pool or TRAINING_POOL
        self.api.make_pool(pool, self.settings.core_count, "tasks that fit models")
        self.ingest()
        head = self.head()
        if head is None:
            head = self.release_first()
        else:
            self.console.print(f"champion: version {head.version}, epoch {head.epoch}; no training")
        self.monitor()
        self.api.unpause(f"{self.model.name}.maintenance")
        row = self._newest_row()
        probability, answered_by, curl = self.predict(row)
        return Outcome(head, self.gate_words(), row, probability, answered_by, curl)

    def head(self) -> Head | None:
        """What the ledger says is served."""
        return Ledger(self.settings.ledger_url).head(self.model.name)

    def needed_days(self, weeks: int = 0) -> list[Window]:
        """The days until today 00:00 UTC that training (some weeks ago) and monitoring read."""
        spec = self.model.spec
        watched = max(spec.monitor.quality.window, spec.monitor.drift.window)
        past = spec.train.window + spec.train.holdout + spec.data.label.known_after + watched
        start = day_window(self.today - past - weeks * 7 * DAY).start
        return list(Window(start=start, end=self.today).days())

    def ingest(self, weeks: int = 0) -> None:
        """Bring in the days that are needed and not yet published; the nightly schedule goes on."""
        dag, needed = f"{self.model.name}.ingest", self.needed_days(weeks)
        self.api.unpause(dag)
        for _ in range(2):  # a run that an earlier `make run` began may bring in other days
            published = {snapshot.window for snapshot in self._published()}
            missing = [day for day in needed if day not in published]
            if not missing:
                self.console.print(f"data: the {len(needed)} days that are needed are published")
                return
            self._run(dag, _days(missing[0].start, missing[-1].end))

    def release_first(self) -> Head:
        """Train, and follow the candidate's asset event to the release that it starts."""
        training, release = f"{self.model.name}.training", f"{self.model.name}.release"
        self.api.unpause(training)
        self.api.unpause(release)
        for run_id in self._open_runs(release):  # what an interrupted `make run` left
            self._continue(release, run_id)
        for weeks in range(_WEEKS_BACK + 1):
            if self.head() is None:
                self._train_and_release(training, release, weeks)
        head = self.head()
        if head is None:
            raise DependencyUnavailable("the release ended, but the ledger names no champion")
        return head

    def _train_and_release(self, training: str, release: str, weeks: int) -> None:
        """Train as of some weeks ago and release; where the gate refuses, say so and return.

        The gate is asked for evidence on the newest days, and some days of a year cannot give it.
        A first model of last week is better than none; monitoring asks for a newer one.
        """
        if weeks:
            self.ingest(weeks)
        cutoff = format_time(self.today - weeks * 7 * DAY)
        conf = {"reason": "first model", "cutoff": cutoff}
        # Its report is written meanwhile: a release does not wait for it.
        run_id = self._run(training, conf, until="register")
        try:
            self._follow_release(release, self.api.run(training, run_id))
        except RunFailed as error:
            if error.task != "gate" or "(exit 4)" not in error.words or weeks == _WEEKS_BACK:
                raise
            self.console.print(f"[yellow]not released:[/] {escape(error.words)}", highlight=False)
            self.console.print("the model of a week earlier is tried")

    def monitor(self) -> None:
        """The newest window's monitoring: the schedule's own run, or one by hand."""
        dag = f"{self.model.name}.monitoring"
        self.api.unpause(dag)
        scheduled = self._scheduled_run(dag) if self.model.spec.schedule.monitoring else None
        window = day_window(self.today - DAY)
        if scheduled is not None:
            self._continue(dag, scheduled)
        else:
            self._run(dag, _days(window.start, window.end))

    def gate_words(self) -> str:
        """What the gate said of the newest candidate that it let pass."""
        release = f"{self.model.name}.release"
        words = "released outside Airflow; see `ferryman ledger show`"
        for run in self.api.runs(release, state="success"):
            result = self.api.result(release, run["dag_run_id"], "gate")
            words = str(result.get("text", words))
            if result.get("verdict") == "passed":
                break
        return words

    def predict(self, row: dict[str, Any]) -> tuple[float, str, str]:
        """Ask the served model about one row: probability, what answered, and the curl for it."""
        url = f"{self.settings.serving_url}/v1/models/{self.model.name}:predict"
        body = json.dumps({"instances": [row]})
        header = {"content-type": "application/json"}
        answer = httpx.post(url, content=body, headers=header, timeout=10)
        if answer.status_code != httpx.codes.OK:
            raise DependencyUnavailable(f"serving: {answer.status_code} {answer.text[:300]}")
        version = answer.headers.get("x-model-version", "?")
        epoch = answer.headers.get("x-model-epoch", "?")
        command = ["curl", "-s", url, "-H", "content-type: application/json", "-d", body]
        said = f"version {version}, epoch {epoch}"
        return float(answer.json()["predictions"][0]), said, shlex.join(command)

    def _newest_row(self) -> dict[str, Any]:
        names = list(self.model.spec.features.columns)
        store = SnapshotStore(open_own_data_store(self.settings))
        rows = store.read_features(self._published()[-1]).select(names).to_pylist()
        return dict(rows[-1])

    def _published(self) -> list[Snapshot]:
        store = SnapshotStore(open_own_data_store(self.settings))
        return store.published(self.model.name)

    def _run(self, dag: str, conf: dict[str, str], *, until: str | None = None) -> str:
        """Have a run, or its task `until`, succeed: an open run or a new one; its id."""
        for run_id in self._open_runs(dag):
            # One that was followed already only writes its report now.
            if run_id.startswith(_OURS) and run_id not in self._followed:
                self._continue(dag, run_id, until=until)
                return run_id
        run_id = f"{_OURS}{datetime.now(UTC):%Y%m%dT%H%M%S}"
        self.api.trigger(dag, run_id, conf)
        self.console.print(f"[bold]{dag}[/bold] triggered by REST: {run_id}", highlight=False)
        self._watch(dag, run_id, until=until)
        return run_id

    def _continue(self, dag: str, run_id: str, *, until: str | None = None) -> None:
        """Wait for a run that exists; what failed in it is run again."""
        self.console.print(f"[bold]{dag}[/bold] found: {run_id}", highlight=False)
        if self.api.run(dag, run_id)["state"] == "failed":
            self.console.print("  it failed before; its failed tasks are run again")
            self.api.clear(dag, run_id)
        self._watch(dag, run_id, until=until)

    def _open_runs(self, dag: str) -> list[str]:
        runs = self.api.runs(dag)
        return [run["dag_run_id"] for run in runs if run["state"] in ("queued", "running")]

    def _watch(self, dag: str, run_id: str, *, until: str | None = None) -> None:
        start = time.monotonic()
        self._followed.add(run_id)
        with self.console.status(f"{dag} is running"):
            self.api.wait(
                dag,
                run_id,
                timeout=_PATIENCE,
                seen=lambda task: self._tell(dag, run_id, task),
                until=until,
            )
        reached = f"has done {until}" if until else "finished"
        self.console.print(f"  {dag} {reached} ({time.monotonic() - start:.1f} s)", style="dim")

    def _tell(self, dag: str, run_id: str, task: dict[str, Any]) -> None:
        state = str(task["state"])
        words = self.api.result(dag, run_id, task["task_id"]).get("text", "")
        mark = _MARKS.get(state, f"[red]{state}[/]")
        took = f"{task['duration'] or 0:.1f} s"
        self.console.print(f"  {mark} {task['task_id']} ({took}) {words}", highlight=False)

    def _follow_release(self, release: str, trained: dict[str, Any]) -> None:
        """Wait for the release that the training's asset event started; trigger it if none came."""
        begun = str(trained["start_date"])  # the event comes before the run is seen to end
        with self.console.status("waiting for the candidate's event to start the release"):
            for _ in range(120):
                runs = [run for run in self.api.runs(release) if str(run["run_after"]) >= begun]
                if runs:
                    break
                time.sleep(0.5)
        if runs:
            run_id = runs[0]["dag_run_id"]
            self.console.print(
                f"[bold]{release}[/bold] started by the asset event", highlight=False
            )
            self._watch(release, run_id)
            return
        folder = run_folder(
            self.settings.runs_root, self.model.name, "training", trained["dag_run_id"]
        )
        self._run(release, {"run": folder.name})

    def _scheduled_run(self, dag: str) -> str | None:
        """The id of the schedule's run for the newest window, which unpausing starts by itself."""
        for _ in range(60):
            for run in self.api.runs(dag, run_type="scheduled"):
                end = datetime.fromisoformat(run["data_interval_end"])
                if end >= self.today:
                    return str(run["dag_run_id"])
            time.sleep(0.5)
        return None

    def _wait_for_dags(self) -> None:
        wanted = [
            f"{self.model.name}.{name}" for name in ("ingest", "training", "release", "monitoring")
        ]
        with self.console.status("waiting for Airflow to read the DAGs"):
            for _ in range(120):
                if all(self.api.has_dag(dag) for dag in wanted):
                    return
                time.sleep(0.5)
        raise DependencyUnavailable(
            f"Airflow does not know {', '.join(wanted)}",
            remedy="Look at the import errors on Airflow's front page.",
        )


def _days(start: datetime, end: datetime) -> dict[str, str]:
    return {"window_start": f"{start:%Y-%m-%d}", "window_end": f"{end:%Y-%m-%d}"}
