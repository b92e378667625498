"""An installation of `rain` whose second version was exposed: ledger, log, labels; no server."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ferryman.data.versions.snapshots import SnapshotEntry, SnapshotStore
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import PROMOTE, Candidate, Op, State
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.run_store import run_folder
from ferryman.runtime.score_column import label_type
from ferryman.serving.log.prediction_log import own_fields
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.spec.rollout import RolloutSpec
from ferryman.spec.windows import DAY, Window, day_window, format_time
from ferryman.steps.contract import run_step
from ferryman.steps.labelled_answers import LabelledAnswers, labelled_losses

TODAY = day_window(datetime(2024, 1, 10, tzinfo=UTC))
TOMORROW = TODAY.shifted(DAY)
_MOMENT = pa.timestamp("us", tz="UTC")


def key(event: int, station: str | None = None) -> str:
    """An event as the server names it: every station once a second."""
    return f"{station or f'station-{event}'}|{format_time(moment(event))}"


def moment(event: int) -> datetime:
    """When an event happened."""
    return TODAY.start + timedelta(seconds=event)


class ExposedWorld:
    """Version 1 serves at epoch 1; version 2 is exposed beside it as `strategy` says."""

    def __init__(self, home: Path, model: DeclaredModel, **rollout: Any) -> None:
        spec = RolloutSpec.model_validate({"strategy": "ab", **rollout})
        self.settings = Settings(home=home)
        changed = model.spec.model_copy(update={"rollout": spec})
        self.model = model.model_copy(update={"spec": changed})
        self.ledger = Ledger(self.settings.ledger_url)
        self.connections = DeclaredConnections(self.settings)
        self.variant = {"canary": "canary", "shadow": "shadow"}.get(spec.strategy, "challenger")
        self._files = self._runs = 0
        self.finish(self.gated(1, exposed=False))
        self.op = self.gated(2)
        self.lease = self.ledger.take_lease("rain", self.op.op_id, "test", 60)
        self.op = self.ledger.advance(self.op.op_id, State.EXPOSED, {})
        self.share(0.5)

    def gated(self, version: int, *, exposed: bool = True) -> Op:
        """An operation of a version, up to STAGED at the present epoch."""
        candidate = Candidate(
            version=version,
            digest=f"{version:064x}",
            bundle=str(self.settings.bundles_root / "rain" / f"{version:064x}"),
            cutoff=(TODAY.start + version * DAY).isoformat(),
            sequence=version,
            run_key=f"key-{version}",
            eval_dataset="e",
        )
        head = self.ledger.head("rain")
        op = self.ledger.open_op(PROMOTE, "rain", candidate, "test", "a test's version")
        self.ledger.advance(op.op_id, State.REGISTERED, {})
        evidence = {"requires": {"approval": False, "exposure": exposed}, "candidate": {}}
        base = head.epoch if head else 0
        self.ledger.advance(op.op_id, State.GATED, evidence, base_epoch=base)
        return self.ledger.advance(op.op_id, State.STAGED, {})

    def share(self, weight: float, stage: int = 0) -> None:
        """Note a share of the candidate's; 0 ends it."""
        self.ledger.set_traffic(
            self.op.op_id,
            serial=self.lease.serial,
            stage=stage,
            variant=self.variant,
            weight=weight,
            reason="a share for the test",
            evidence={},
            lease_seconds=45.0,
        )

    def finish(self, op: Op) -> None:
        """Commit an operation, and finish it."""
        self.ledger.commit(op.op_id, op.base_epoch)
        self.ledger.advance(op.op_id, State.PROJECTED, {})
        self.ledger.advance(op.op_id, State.DONE, {})

    def release(self) -> None:
        """The candidate was proven, and is champion now."""
        self.op = self.ledger.advance(self.op.op_id, State.PROVEN, {})
        self.finish(self.op)

    def log(
        self,
        events: Sequence[int],
        scores: Sequence[Any],
        variant: str = "champion",
        *,
        propensity: float = 0.5,
        requests: Sequence[str] | None = None,
        stations: Sequence[str] | None = None,
        logged: datetime | None = None,
    ) -> None:
        """Log answers to events, each in a request of its own if nothing else is said."""
        count = len(events)
        version = 2 if variant == self.variant else 1
        names = stations or [f"station-{event}" for event in events]
        table = pa.table(
            {
                "request_id": list(requests or [f"request-{event}" for event in events]),
                "entity_key": [key(*pair) for pair in zip(events, names, strict=True)],
                "event_time": [moment(event) for event in events],
                "model": ["rain"] * count,
                "version": [version] * count,
                "epoch": [1] * count,
                "variant": [variant] * count,
                "propensity": [propensity] * count,
                "score": list(scores),
                "latency": [0.001] * count,
                "logged_at": [logged or datetime.now(UTC)] * count,
            },
            schema=pa.schema(own_fields(self.model.spec.train.task, self.model.spec.train.classes)),
        )
        folder = self.settings.predictions_root / "rain" / f"date={TODAY.start:%Y-%m-%d}"
        folder.mkdir(parents=True, exist_ok=True)
        self._files += 1
        pq.write_table(table, folder / f"{self._files}.parquet")

    def publish(
        self,
        label: Callable[[int], Any],
        events: Sequence[int],
        *,
        window: Window = TOMORROW,
        stations: Sequence[str] | None = None,
        kind: Any = None,
    ) -> None:
        """Publish a window's labels; they became known in the order of the events, at its start."""
        names = stations or [f"station-{event}" for event in events]
        told = label_type(self.model.spec.train.task)
        labels = pa.table(
            {
                "entity_key": [key(*pair) for pair in zip(events, names, strict=True)],
                "event_time": pa.array([moment(event) for event in events], _MOMENT),
                "label": pa.array([label(event) for event in events], kind or told),
                "known_at": pa.array(
                    [window.start + timedelta(microseconds=place) for place in range(len(events))],
                    _MOMENT,
                ),
            }
        )
        features = labels.select(["entity_key", "event_time"])
        store = SnapshotStore(LocalObjectStore(self.settings.data_root))
        entry = SnapshotEntry(reason="test", actor="test")
        snapshot = store.write("rain", window, features, labels, entry)
        store.publish("rain", window, snapshot.id, "test")

    def answers(self, until: datetime | None = None) -> LabelledAnswers:
        """What labels say of the exposure by now."""
        known = until or datetime.now(UTC)
        return labelled_losses(self.settings, self.connections, self.model, self.op, known)

    def run(self, step: str, window: Window = TOMORROW, **params: Any) -> StepResult:
        """Run one step as a run of its own."""
        self._runs += 1
        run_id = f"run-{self._runs}"
        request = StepRequest(
            model="rain",
            step=step,
            run_id=run_id,
            run_uri=str(run_folder(self.settings.runs_root, "rain", "monitoring", run_id)),
            window=window,
            params=params,
            spec_digest=self.model.digest,
            results={},
        )
        return run_step(request, self.model, self.settings)


def fair_coin(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, chances of a model that knows the truth, and who was drawn: [count] each."""
    random = np.random.default_rng(seed)
    chances = random.uniform(0.1, 0.9, count)
    return random.random(count) < chances, chances, random.random(count) < 0.5
