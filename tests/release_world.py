"""A small installation with one registered, released model and a better candidate for it."""

import json
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa

from ferryman.data.versions.dataset import DatasetStore
from ferryman.data.versions.snapshots import SnapshotEntry, SnapshotStore
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.run_store import run_folder
from ferryman.settings import Settings
from ferryman.spec.loader import load_model
from ferryman.spec.model import DeclaredModel
from ferryman.spec.windows import Window, format_time
from ferryman.steps.contract import run_step
from ferryman.steps.pipelines import PIPELINES, verb_of

DECLARATION = """\
spec_version: 1
name: tiny
description: Will this flight be late?
owner: {team: tests, contact: tests@example.org}
data:
  sources:
    flights:
      kind: files
      path: flights_{year}-{month}.parquet
      event_time: at
      columns: {at: {type: timestamp}, carrier: {type: category}}
  label: {name: late, sql: labels.sql, known_after: 1d}
features:
  sql: features.sql
  entity: [carrier, flight]
  columns:
    carrier: {type: category}
    distance: {type: number}
    hour: {type: integer}
train:
  framework: sklearn
  task: binary
  pipeline: pipeline.py:build
  window: 1d
  holdout: 2d
  min_rows: 10
gates:
  thresholds: {log_loss: {max: 0.69}}
  min_rows: 100
  resamples: 200
"""
FIRST_DAY = datetime(2013, 1, 1, tzinfo=UTC)
DAYS = 8
ROWS = 700
# Strength of a candidate's model (more is better on these rows) and its cut-off, by version.
CANDIDATES = {1: (0.1, 4), 2: (10.0, 6), 3: (1.0, 5), 4: (0.1, 7)}


def declare(zoo: Path) -> DeclaredModel:
    """Write the declaration of `tiny` and read it back."""
    folder = zoo / "tiny"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        (folder / "model.yaml").write_text(DECLARATION)
        for name in ("labels.sql", "features.sql", "pipeline.py"):
            (folder / name).write_text("")
    return load_model(folder)


def fill(settings: Settings, make_bundle: Callable[..., Any]) -> None:
    """Publish labelled days, and register the candidates in MLflow."""
    spec = declare(settings.zoo).spec
    store = SnapshotStore(LocalObjectStore(settings.data_root))
    tables = [_day_tables(day) for day in range(DAYS)]
    for day in range(DAYS):
        start = FIRST_DAY + timedelta(days=day)
        window = Window(start=start, end=start + timedelta(days=1))
        labels = tables[day - 1][1] if day else tables[0][1].slice(0, 0)
        entry = SnapshotEntry(reason="test", actor="test")
        snapshot = store.write("tiny", window, tables[day][0], labels, entry)
        store.publish("tiny", window, snapshot.id, "test")
    registry = MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts)
    for version, (strength, day) in CANDIDATES.items():
        cutoff = FIRST_DAY + timedelta(days=day)
        train, dataset = DatasetStore(LocalObjectStore(settings.data_root)).split(spec, cutoff)
        bundle = make_bundle(settings.bundles_root, strength)
        if version == 4:
            continue  # never registered: see `candidate`
        tags = {
            "ferryman.cutoff": format_time(cutoff),
            "ferryman.train_dataset": train.id,
            "ferryman.eval_dataset": dataset.id,
        }
        registered = registry.register(
            "tiny", f"key-{version}", bundle.digest, str(bundle.folder), tags
        )
        assert registered.version == version


def candidate(settings: Settings, version: int, make_bundle: Callable[..., Any]) -> dict[str, Any]:
    """What a training run hands to the gate."""
    strength, day = CANDIDATES[version]
    cutoff = FIRST_DAY + timedelta(days=day)
    bundle = make_bundle(settings.bundles_root, strength)
    spec = declare(settings.zoo).spec
    datasets = DatasetStore(LocalObjectStore(settings.data_root))
    train, dataset = datasets.split(spec, cutoff)
    return {
        "version": version,
        "digest": bundle.digest,
        "bundle": str(bundle.folder),
        "run_key": f"key-{version}",
        "cutoff": format_time(cutoff),
        "sequence": version,
        "train_dataset": train.id,
        "eval_dataset": dataset.id,
    }


def copy_world(template: Settings, home: Path, ports: list[int], declared: str = "") -> Settings:
    """The same installation in another folder, served on other ports.

    `declared` is more of the declaration, such as a rollout; the zoo is then one of its own.
    """
    shutil.copytree(template.home, home)
    zoo = template.zoo
    if declared:
        zoo = home.with_name(f"{home.name}-zoo")
        shutil.copytree(template.zoo, zoo)
        with (zoo / "tiny" / "model.yaml").open("a") as file:
            file.write(declared)
    for name in ("process.json", "start.lock"):
        (home / "serving" / name).unlink(missing_ok=True)
    return Settings(home=home, zoo=zoo, serving_port=ports[0], serving_admin_port=ports[1])


class Release:
    """One run of the release pipeline, step by step, as an operator runs it."""

    def __init__(self, settings: Settings, run_id: str, given: dict[str, Any]) -> None:
        self.settings = settings
        self.model = declare(settings.zoo)
        self.run_id = run_id
        self.given = given
        self.results: dict[str, StepResult] = {}

    def run(self, step: str) -> StepResult:
        """Run one step with the results of those before it."""
        folder = run_folder(self.settings.runs_root, "tiny", "release", self.run_id)
        verb, params = verb_of(step)
        if verb == "gate":
            params = {"candidate": self.given}
        request = StepRequest(
            model="tiny",
            step=verb,
            run_id=self.run_id,
            run_uri=str(folder),
            params=params,
            spec_digest=self.model.digest,
            results=self.results,
        )
        self.results[step] = run_step(request, self.model, self.settings)
        return self.results[step]

    def run_all(self) -> StepResult:
        """Run every step; the last one's result."""
        steps = PIPELINES["release"].steps_of(self.model.spec)
        return [self.run(step) for step in steps][-1]


class Users:
    """Requests to the public port from a thread, each of another entity; answers are counted.

    `variants` counts answers by x-model-variant, `failed` those that were no 200. When the block
    ends, a version that answered one row in two ways is an error: one of the answers was another's.
    """

    def __init__(self, settings: Settings, rows: list[dict[str, Any]], pause: float = 0.01) -> None:
        self.variants: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()
        self.failed = 0
        self.answered = threading.Event()  # once
        self._told: dict[tuple[str, int], tuple[float, float]] = {}  # the least and the greatest
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, args=(settings, rows, pause))

    def __enter__(self) -> "Users":
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        mixed = {one: told for one, told in self._told.items() if told[1] - told[0] > 1e-5}
        assert kind or not mixed, mixed

    def _keep(self, version: str, row: int, score: float) -> None:
        least, greatest = self._told.get((version, row), (score, score))
        self._told[version, row] = (min(least, score), max(greatest, score))

    def _ask(self, settings: Settings, rows: list[dict[str, Any]], pause: float) -> None:
        with httpx.Client(base_url=settings.serving_url, trust_env=False) as http:
            for number in count():
                if self._stop.wait(pause):
                    return
                row = number % len(rows)
                asked = {"instances": [rows[row]]}
                headers = {"x-entity-key": f"user {number}"}
                answer = http.post("/v1/models/tiny:predict", json=asked, headers=headers)
                self.failed += answer.status_code != 200
                self.variants[answer.headers.get("x-model-variant", "")] += 1
                version = answer.headers.get("x-model-version", "")
                self.versions[version] += 1
                if answer.status_code == 200:
                    self._keep(version, row, answer.json()["predictions"][0])
                self.answered.set()


def released_elsewhere(
    settings: Settings, make_bundle: Callable[..., Any], server: dict[str, Any], ports: list[int]
) -> None:
    """Release two versions of `tiny` to a server `lane` that nobody has started; it must answer."""
    model = declare(settings.zoo)
    text = model.file.read_text()
    model.file.write_text(f"{text}serving: {{server: lane}}\n")
    lane = {**server, "port": ports[0], "admin_port": ports[1]}
    declared = {"spec_version": 1, "servers": {"lane": lane}}
    (settings.zoo / "servers.yaml").write_text(json.dumps(declared))
    fill(settings, make_bundle)
    for version in (1, 2):
        bundle = make_bundle(settings.bundles_root, CANDIDATES[version][0])
        given = candidate(settings, version, make_bundle)
        done = Release(settings, f"v{version}", given).run_all()
        url = str(done.outputs["served"])
        assert url == f"http://127.0.0.1:{ports[0]}"
        with httpx.Client(base_url=url, trust_env=False) as http:
            answer = http.post("/v1/models/tiny:predict", json={"instances": bundle.rows})
        assert answer.headers["x-model-version"] == str(version)
        assert np.allclose(answer.json()["predictions"], bundle.outputs, atol=1e-5)


def _day_tables(day: int) -> tuple[pa.Table, pa.Table]:
    """Features of a day's events, and their labels, known a day later."""
    random = np.random.default_rng(100 + day)
    hours = random.integers(5, 23, ROWS)
    start = FIRST_DAY + timedelta(days=day)
    times = [start + timedelta(hours=int(h), seconds=n) for n, h in enumerate(hours)]
    carriers = random.choice(["UA", "AA", "B6"], ROWS)
    keys = [
        f"{c}|{n}|{format_time(t)}" for n, (c, t) in enumerate(zip(carriers, times, strict=True))
    ]
    moment = pa.timestamp("us", tz="UTC")
    features = pa.table(
        {
            "entity_key": pa.array(keys, pa.string()),
            "event_time": pa.array(times, moment),
            "carrier": pa.array(carriers.tolist(), pa.string()),
            "distance": pa.array(
                [None if n % 50 == 0 else float(n) for n in range(ROWS)], pa.float64()
            ),
            "hour": pa.array(hours.tolist(), pa.int64()),
        }
    )
    late = hours + random.normal(0, 4, ROWS) > 15
    labels = pa.table(
        {
            "entity_key": pa.array(keys, pa.string()),
            "event_time": pa.array(times, moment),
            "label": pa.array(late.tolist(), pa.bool_()),
            "known_at": pa.array([t + timedelta(days=1) for t in times], moment),
        }
    )
    return features, labels
