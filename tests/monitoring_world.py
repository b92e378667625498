"""One installation of the model `rain`, fed by hand, for tests of monitoring."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ferryman.data.versions.snapshots import SnapshotEntry, SnapshotStore
from ferryman.data.windows.profile import profile_table
from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import Candidate, State
from ferryman.runtime.bundle import REFERENCE, SIGNATURE, Signature
from ferryman.runtime.files import write_json
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.run_store import run_folder
from ferryman.serving.log.prediction_log import own_fields
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.spec.monitoring import MonitorSpec
from ferryman.spec.windows import Window, day_window
from ferryman.steps.contract import run_step

DAY0 = day_window(datetime(2024, 1, 10, tzinfo=UTC))
TIME = pa.timestamp("us", tz="UTC")
MONITOR = MonitorSpec.model_validate(
    {
        "quality": {"metric": "log_loss", "window": "2d", "min_labels": 50, "tolerance": 0.05},
        "drift": {"window": "2d", "min_rows": 50},
        "retrain": {"cool_down": "2d", "per_week": 1},
    }
)
ROWS = 100


class Station:
    """One installation of the model `rain`, fed by hand."""

    def __init__(self, settings: Settings, model: DeclaredModel) -> None:
        spec = model.spec.model_copy(update={"monitor": MONITOR})
        self.model = model.model_copy(update={"spec": spec})
        self.settings = settings
        self.logged: list[str] | None = None
        self._runs = 0

    def run(self, window: Window, *steps: str, **params: Any) -> dict[str, StepResult]:
        """Run steps as one new run."""
        self._runs += 1
        folder = run_folder(self.settings.runs_root, "rain", "monitoring", f"run-{self._runs}")
        results: dict[str, StepResult] = {}
        for step in steps:
            request = StepRequest(
                model="rain",
                step=step,
                run_id=f"run-{self._runs}",
                run_uri=str(folder),
                window=window,
                params=params if step == steps[-1] else {},
                spec_digest=self.model.digest,
                results=dict(results),
            )
            results[step] = run_step(request, self.model, self.settings)
        return results

    def log(
        self, day: Window, score: Callable[[int], float], version: int = 1, **more: Any
    ) -> None:
        """Log a hundred predictions of a day; rows are named by day and number."""
        random = np.random.default_rng(day.start.day)
        features = {
            "station": ["north", "south"] * (ROWS // 2),
            "sky": random.choice(["clear", "grey"], ROWS).tolist(),
            "humidity": random.normal(60 + more.get("damp", 0), 10, ROWS).tolist(),
            "clouds": random.integers(0, 9, ROWS).tolist(),
        }
        own = {
            "request_id": [f"{more.get('named', 'r')}{row}-{version}" for row in range(ROWS)],
            "entity_key": [key(day, row) for row in range(ROWS)],
            "event_time": [day.start + timedelta(minutes=row) for row in range(ROWS)],
            "model": ["rain"] * ROWS,
            "version": [version] * ROWS,
            "epoch": [version] * ROWS,
            "variant": [more.get("variant", "champion")] * ROWS,
            "propensity": [1.0] * ROWS,
            "latency": [0.001] * ROWS,
            "score": [score(row) for row in range(ROWS)],
            "logged_at": [day.end + timedelta(hours=version)] * ROWS,
        }
        table = pa.table(own, schema=pa.schema(own_fields()))
        kept = more.get("columns", features)
        for name, values in ((name, features[name]) for name in kept):
            table = table.append_column(name, pa.array(values))
        folder = self.settings.predictions_root / "rain" / f"date={day.start:%Y-%m-%d}"
        folder.mkdir(parents=True, exist_ok=True)
        # A file of the log is written once: it is remembered by its name.
        pq.write_table(table, folder / f"{version}-{more.get('named', 'r')}.parquet")

    def publish(
        self,
        day: Window,
        label: Callable[[int], bool | None],
        of: Window | None = None,
        rows: Sequence[int] = range(ROWS),
    ) -> None:
        """Publish the day's snapshot with the labels of the day before, or of another one."""
        event_day = of or day.shifted(timedelta(days=-1))
        labels = pa.table(
            {
                "entity_key": [key(event_day, row) for row in rows],
                "event_time": pa.array(
                    [event_day.start + timedelta(minutes=row) for row in rows], TIME
                ),
                "label": pa.array([label(row) for row in rows], pa.bool_()),
                "known_at": pa.array([day.start + timedelta(minutes=row) for row in rows], TIME),
            }
        )
        features = labels.select(["entity_key", "event_time"])
        store = SnapshotStore(LocalObjectStore(self.settings.data_root))
        entry = SnapshotEntry(reason="test", actor="test")
        snapshot = store.write("rain", day, features, labels, entry)
        store.publish("rain", day, snapshot.id, "test")

    def release(self, version: int, cutoff: datetime, log_loss: float) -> None:
        """Make a version head, by the states that a release goes through."""
        bundle = self.settings.bundles_root / "rain" / f"{version:064x}"
        random = np.random.default_rng(0)
        table = pa.table(
            {
                "station": ["north", "south"] * 500,
                "sky": random.choice(["clear", "grey"], 1000),
                "humidity": random.normal(60, 10, 1000),
                "clouds": random.integers(0, 9, 1000),
            }
        )
        write_json(bundle / REFERENCE, profile_table(table, self.model.spec.features.columns))
        signature = Signature(features=[], entity=[], output="rained", logged=self.logged)
        write_json(bundle / SIGNATURE, signature.model_dump(mode="json"))
        candidate = Candidate(
            version=version,
            digest=f"{version:064x}",
            bundle=str(bundle),
            cutoff=cutoff.isoformat(),
            sequence=version,
            run_key=f"key-{version}",
            eval_dataset="e",
        )
        ledger = Ledger(self.settings.ledger_url)
        op = ledger.open_op(PROMOTE, "rain", candidate, "test", "test")
        base = version - 1
        ledger.advance(op.op_id, State.REGISTERED, {})
        evidence = {"outcome": "passed", "candidate": {"log_loss": log_loss}}
        ledger.advance(op.op_id, State.GATED, evidence, base_epoch=base)
        ledger.advance(op.op_id, State.STAGED, {})
        ledger.commit(op.op_id, base)


def key(day: Window, row: int) -> str:
    return f"{day.start:%Y-%m-%d}-{row}"


def day(offset: int) -> Window:
    return DAY0.shifted(timedelta(days=offset))


def even(row: int) -> bool:
    return row % 2 == 0


def good(row: int) -> float:
    return 0.9 if even(row) else 0.1


def bad(row: int) -> float:
    return 1 - good(row)
