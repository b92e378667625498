"""An installation that exposed version 2 beside version 1 and released it; labels come later."""

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from release_world import DAYS, FIRST_DAY, copy_world, declare
from rollback_world import World

from ferryman.data.versions.snapshots import SnapshotEntry, SnapshotStore
from ferryman.ledger.records import STAGE, Op, State
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.runtime.endpoints import main_endpoint
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.prediction_places import prediction_places
from ferryman.runtime.run_store import run_folder
from ferryman.runtime.traffic import Traffic
from ferryman.serving.client import ServingClient
from ferryman.serving.log.prediction_log import read_predictions
from ferryman.settings import Settings
from ferryman.spec.windows import Window, format_time
from ferryman.steps.contract import run_step
from ferryman.steps.reconcile import reconcile_model

REQUESTS = 600
EVENTS = FIRST_DAY + timedelta(days=DAYS)
ROLLOUT = "rollout: {{strategy: {strategy}, labels: {{min_labels: 50, margin: 0.05}}}}\n"
_MOMENT = pa.timestamp("us", tz="UTC")


class Exposed(World):
    """Version 1 serves; version 2 answers a part of the requests beside it, then all of them."""

    def __init__(self, settings: Settings, make_bundle: Any, variant: str) -> None:
        super().__init__(settings, make_bundle)
        self.variant = variant
        self.connections = DeclaredConnections(settings)

    def expose(self, weight: float) -> Op:
        """Give version 2 its share, have requests answered, and release it."""

        def ask(client: ServingClient) -> None:
            for number in range(REQUESTS):
                client.predict("tiny", [_row(number)])

        op = self.exposed(weight, ask)
        op = self.ledger.advance(op.op_id, State.PROVEN, {})
        self.ledger.commit(op.op_id, op.base_epoch)
        reconcile_model(self.ledger, self.settings, "tiny")
        return op

    def exposed(self, weight: float, ask: Callable[[ServingClient], Any]) -> Op:
        """Have requests answered while version 2 has a share."""
        op = self.staged(2)
        lease = self.ledger.take_lease("tiny", op.op_id, "tests", 60)
        op = self.ledger.advance(op.op_id, State.EXPOSED, {})
        traffic = Traffic(
            op=op.op_id,
            variant=self.variant,
            version=2,
            digest=op.candidate.digest,
            weight=weight,
            base_epoch=op.base_epoch,
            fence=lease.serial,
            stage=0,
            lease=60.0,
        )
        self._note(traffic, weight)
        with ServingClient(main_endpoint(self.settings)) as client:
            client.expose("tiny", traffic, op.candidate.bundle)
            ask(client)
            client.flush()
            client.withdraw("tiny", lease.serial)
        self._note(traffic, 0.0)
        self.ledger.drop_lease("tiny", lease.serial)
        return op

    def logged(self, start: datetime = EVENTS) -> Any:
        """The rows that were logged of a day of events, as a pandas frame."""
        places = prediction_places(self.settings, self.connections)
        return read_predictions(places, "tiny", start, start + timedelta(days=1)).to_pandas()

    def score(self, day: int) -> StepResult:
        """Send a day's requests again."""
        start = FIRST_DAY + timedelta(days=day)
        model = declare(self.settings.zoo)
        request = StepRequest(
            model="tiny",
            step="score",
            run_id="replay",
            run_uri=str(run_folder(self.settings.runs_root, "tiny", "monitoring", "replay")),
            window=Window(start=start, end=start + timedelta(days=1)),
            spec_digest=model.digest,
        )
        return run_step(request, model, self.settings)

    def publish(self, label: Callable[[Any], bool], day: int = 1, share: float = 1.0) -> None:
        """Publish what came true of each answered event, or of the first part of them."""
        frame = self.logged().drop_duplicates("entity_key")
        frame = frame.iloc[: int(len(frame) * share)]
        start = EVENTS + timedelta(days=day)
        table = pa.table(
            {
                "entity_key": pa.array(frame.entity_key.tolist(), pa.string()),
                "event_time": pa.array(frame.event_time.tolist(), _MOMENT),
                "label": pa.array([label(row) for row in frame.itertuples()], pa.bool_()),
                "known_at": pa.array([start] * len(frame), _MOMENT),
            }
        )
        store = SnapshotStore(LocalObjectStore(self.settings.data_root))
        window = Window(start=start, end=start + timedelta(days=1))
        features = table.select(["entity_key", "event_time"])
        entry = SnapshotEntry(reason="test", actor="test")
        snapshot = store.write("tiny", window, features, table, entry)
        store.publish("tiny", window, snapshot.id, "test")

    def looks(self) -> list[dict[str, Any]]:
        """What the ledger holds of late verdicts."""
        notes = self.ledger.notes("tiny", STAGE)
        return [note.evidence for note in notes if note.evidence["stage"] == "verdict"]

    def _note(self, traffic: Traffic, weight: float) -> None:
        self.ledger.set_traffic(
            traffic.op,
            serial=traffic.fence,
            stage=0,
            variant=self.variant,
            weight=weight,
            reason="a share for the test",
            evidence={},
            lease_seconds=60.0,
        )


def _row(number: int) -> dict[str, Any]:
    random = np.random.default_rng(number)
    return {
        "carrier": str(random.choice(["UA", "AA", "B6"])),
        "flight": number,
        "distance": float(random.integers(100, 2000)),
        "hour": int(random.integers(5, 23)),
        "event_time": format_time(EVENTS + timedelta(seconds=number)),
    }


def against(variant: str) -> Callable[[Any], bool]:
    """What comes true so that the answers of one variant are wrong, and all others right."""
    return lambda row: bool((row.score >= 0.5) != (row.variant == variant))


def late_world(
    template: Settings, folder: Path, ports: list[int], make_bundle: Any, strategy: str
) -> Exposed:
    """A copy of the template that declares a strategy; its server is not started."""
    zoo = Path(shutil.copytree(template.zoo, folder / "zoo"))
    with (zoo / "tiny" / "model.yaml").open("a") as stream:
        stream.write(ROLLOUT.format(strategy=strategy))
    settings = copy_world(template, folder / "home", ports)
    variant = {"ab": "challenger"}.get(strategy, strategy)
    return Exposed(settings.model_copy(update={"zoo": zoo}), make_bundle, variant)
