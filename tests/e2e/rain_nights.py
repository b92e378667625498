"""Nights of a model in the running stack: days of rain up to today, users, labels, and its DAGs."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import yaml
from rain_releases import DECLARED, until

from ferryman.catalog import find_model
from ferryman.ledger.ledger import Ledger
from ferryman.runtime.endpoints import main_endpoint
from ferryman.runtime.files import file_digest, read_json
from ferryman.runtime.label_token import make_label_token
from ferryman.runtime.run_store import run_folder
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings
from ferryman.spec.windows import DAY, Window, day_window, format_time
from ferryman.steps.journey import Journey
from ferryman_airflow.stack.rest import AirflowApi

if TYPE_CHECKING:
    import pandas as pd

NAME = "drizzle"
DAYS = 31
FEATURES = ["station", "sky", "humidity", "clouds"]
# Four times as many events a day as `rain` has: nights judge days of a few hundred rows.
A_DAY = 4
_OF_WINDOWS = ("reports", "decisions", "drift", "joined", "events")
NIGHTLY = {
    # Of fourteen days a training says how days differ: drift is judged from the first night on.
    "train": {"window": "14d", "holdout": "2d"},
    "gates": {**DECLARED["gates"], "champion": {"require": "no_worse", "margin": 0.05}},
    "rollout": {"strategy": "direct"},
    "monitor": {
        "quality": {"metric": "log_loss", "window": "2d", "min_labels": 100, "tolerance": 0.05},
        "drift": {"window": "2d", "min_rows": 200},
        "retrain": {"cool_down": "5d"},
    },
}


def sources(make_hours: Any, first: datetime) -> "pd.DataFrame":
    """A row every quarter of an hour and station; told by day(n) which are changed.

    From day -7 on, counted from today, humidity comes as a share in place of percent; on the last
    whole day and after it, more clouds are told than the sky has eighths.
    """
    found: pd.DataFrame = make_hours(DAYS * A_DAY, seed=5, start=f"{first:%Y-%m-%d}")
    found["observed_at"] = first + (found["observed_at"] - first) / A_DAY
    today = first + (DAYS - 2) * DAY
    found.loc[found["observed_at"] >= today - 7 * DAY, "humidity"] /= 100
    found.loc[found["observed_at"] >= today - DAY, "clouds"] += 9
    return found


class RainNights:
    """The model `drizzle`, which is `rain` by another name, with days up to tomorrow."""

    def __init__(self, stack: Any, rain: Path, make_hours: Any) -> None:
        self.settings: Settings = stack.settings
        self.stack, self.rain = stack, rain
        self.api: AirflowApi = stack.api
        self.ledger = Ledger(self.settings.ledger_url)
        self.today = day_window(datetime.now(UTC)).start
        self.first = self.today - (DAYS - 2) * DAY
        self.hours = sources(make_hours, self.first)
        self.root = self.settings.monitoring_root / NAME
        self.answers: dict[int, dict[str, float]] = {}

    def day(self, number: int) -> Window:
        """A day, counted from today."""
        return day_window(self.today + number * DAY)

    # What is declared, and the data

    def declare(self, monitoring: str | None = None) -> None:
        """Write the declaration; the folder is there at once, that nobody reads a part of it."""
        text = (self.rain / "model.yaml").read_text().replace("rain/hours_", f"{NAME}/hours_")
        told = {**yaml.safe_load(text), "name": NAME}
        for part, values in NIGHTLY.items():
            told[part] = {**told.get(part, {}), **values}
        told["schedule"]["monitoring"] = monitoring
        folder = self.settings.zoo / NAME
        target = folder if folder.is_dir() else self.settings.home / "declared"
        target.mkdir(parents=True, exist_ok=True)
        for file in self.rain.iterdir():
            if file.suffix in (".sql", ".py"):
                (target / file.name).write_bytes(file.read_bytes())
        (target / "model.yaml").write_text(yaml.safe_dump(told))
        if target != folder:
            target.rename(folder)

    def ingest(self) -> None:
        """Write the source's files, and publish every day."""
        folder = self.settings.source_root / NAME
        folder.mkdir()
        for month, rows in self.hours.groupby(self.hours["observed_at"].dt.strftime("%Y-%m")):
            rows.to_parquet(folder / f"hours_{month}.parquet")
        window = Window(start=self.first, end=self.today + DAY)
        journey = Journey(self.settings, find_model(self.settings.zoo, NAME))
        for _ in journey.run("ingest", window=window):
            pass

    # Users

    def rows(self, day: Window) -> list[dict[str, Any]]:
        """A day's events as users send them."""
        at = self.hours["observed_at"]
        found = self.hours[(at >= day.start) & (at < day.end)]
        return [
            {name: None if row[name] != row[name] else row[name] for name in FEATURES}
            | {"event_time": format_time(row["observed_at"].to_pydatetime())}
            for row in found.to_dict("records")
        ]

    def ask(self, *numbers: int) -> None:
        """Have users ask for every event of days; `answers` keeps what they are told, by key."""
        with ServingClient(main_endpoint(self.settings)) as client:
            for number in numbers:
                rows = self.rows(self.day(number))
                told = client.predict(NAME, rows).scores
                keys = [f"{row['station']}|{row['event_time']}" for row in rows]
                self.answers[number] = dict(zip(keys, told, strict=True))
            client.flush()

    def post_labels(self, day: Window, rows: int) -> datetime:
        """Users ask of events that no file knows, and say what came true; when it was received."""
        keys = [f"umbrella-{number}" for number in range(rows)]
        make_label_token(main_endpoint(self.settings).root)
        with ServingClient(main_endpoint(self.settings)) as client:
            events = [
                {**row, "entity_key": key}
                for key, row in zip(keys, self.rows(day)[:rows], strict=True)
            ]
            client.predict(NAME, events)
            client.flush()
            labels = [
                {"entity_key": row["entity_key"], "event_time": row["event_time"], "label": True}
                for row in events
            ]
            told = client.post_labels(NAME, labels)
            client.flush()
        assert told["accepted"] == rows
        return datetime.fromisoformat(told["received_at"])

    # DAGs

    def paused(self, pipeline: str, is_paused: bool) -> None:
        """Pause a DAG, or let it run by itself."""
        self.api.call("PATCH", f"/api/v2/dags/{NAME}.{pipeline}", json={"is_paused": is_paused})

    def person(self, name: str) -> Any:
        """Airflow as somebody who is logged in; to be closed."""
        return closing(self.stack.api_of(name))

    def begin(self, pipeline: str, run_id: str, person: str = "", **conf: Any) -> str:
        """Start a run as somebody, else as the stack's own user; its id."""
        if not person:
            assert self.api.trigger(f"{NAME}.{pipeline}", run_id, conf)
            return run_id
        with self.person(person) as api:
            assert api.trigger(f"{NAME}.{pipeline}", run_id, conf)
        return run_id

    def night(self, run_id: str, number: int, person: str = "", **conf: Any) -> str:
        """Start a run of `monitoring` for a day."""
        start = f"{self.day(number).start:%Y-%m-%d}"
        return self.begin("monitoring", run_id, person, window_start=start, **conf)

    def ended(self, pipeline: str, run_id: str) -> dict[str, str]:
        """Wait for a run's end; the states of its tasks."""
        dag = f"{NAME}.{pipeline}"
        until(lambda: self.api.run(dag, run_id)["state"] in ("success", "failed"), timeout=400)
        return {str(one["task_id"]): str(one["state"]) for one in self.api.tasks(dag, run_id)}

    def outputs(self, pipeline: str, run_id: str, step: str) -> dict[str, Any]:
        """What a task's step gave."""
        return dict(self.api.result(f"{NAME}.{pipeline}", run_id, step)["outputs"])

    def words(self, pipeline: str, run_id: str) -> str:
        """The logs of all tasks of a run."""
        dag = f"{NAME}.{pipeline}"
        found = self.api.tasks(dag, run_id)
        lines = [self.api.log(dag, run_id, one["task_id"], one["try_number"]) for one in found]
        return "\n".join(line for log in lines for line in log)

    def runs(self, pipeline: str, **query: Any) -> list[dict[str, Any]]:
        """The runs of a pipeline, newest first."""
        return self.api.runs(f"{NAME}.{pipeline}", **query)

    def retrain_events(self) -> list[dict[str, Any]]:
        """What the events of the asset `retrain` said.

        While a run that an event started is queued, Airflow answers this with an error.
        """
        name = f"{NAME}.retrain"
        found = self.api.call("GET", "/api/v2/assets", params={"name_pattern": name}).json()
        [asset] = [one["id"] for one in found["assets"] if one["name"] == name]
        told = self.api.call("GET", "/api/v2/assets/events", params={"asset_id": asset}).json()
        return [one["extra"] for one in told["asset_events"]]

    # What is kept

    def version(self) -> int:
        """The ledger's champion; 0 where there is none."""
        head = self.ledger.head(NAME)
        return head.version if head else 0

    def served(self, version: int) -> None:
        """Wait until the server answers with a version, which the ledger names too."""
        until(lambda: self.version() == version, timeout=300)
        with ServingClient(main_endpoint(self.settings)) as client:
            until(lambda: (client.status(NAME) or {}).get("version") == version)

    def report(self, window: Window, root: Path | None = None) -> dict[str, Any]:
        """What a night said, but for where files are."""
        found: dict[str, Any] = read_json((root or self.root) / "reports" / f"{window.key}.json")
        for name in ("joined", "windows", "restated"):
            del found["labels"][name]
        return found

    def decision(self, window: Window) -> dict[str, Any]:
        """What a night decided."""
        found: dict[str, Any] = read_json(self.root / "decisions" / f"{window.key}.json")
        return found

    def backfilled(self, run_id: str) -> Path:
        """The place of a backfill's run."""
        folder = run_folder(self.settings.runs_root, NAME, "monitoring", run_id)
        return self.settings.monitoring_root / "backfills" / folder.name / NAME

    def kept(self) -> dict[str, str]:
        """Every file that a night wrote of a window, by its digest."""
        files = [file for part in _OF_WINDOWS for file in (self.root / part).rglob("*.*")]
        return {str(file.relative_to(self.root)): file_digest(file) for file in files}

    def scores(self, run_id: str) -> dict[str, float]:
        """Scores that a run of `scoring` wrote, by entity key."""
        uri = self.api.result(f"{NAME}.scoring", run_id, "batch_score")["artifacts"]["scores"]
        table = pq.ParquetFile(uri.removeprefix("file://")).read()
        keys, scores = (table[name].to_pylist() for name in ("entity_key", "score"))
        return dict(zip(keys, scores, strict=True))
