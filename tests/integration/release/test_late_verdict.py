"""Labels that come after a release: a real server drew who answered, and logged it."""

import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from release_world import DAYS, FIRST_DAY, ROWS, copy_world, declare
from rollback_world import World

from ferryman.data.versions.snapshots import SnapshotEntry, SnapshotStore
from ferryman.errors import DependencyUnavailable
from ferryman.ledger.records import STAGE, TRAFFIC, Op, State
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


@pytest.fixture
def installed(
    template: Settings, tmp_path: Path, free_ports, make_bundle
) -> Iterator[Callable[[str], Exposed]]:
    """A function from a strategy to the world in which version 2 was exposed so, and released."""
    running: list[Exposed] = []

    def install(strategy: str) -> Exposed:
        zoo = Path(shutil.copytree(template.zoo, tmp_path / "zoo"))
        with (zoo / "tiny" / "model.yaml").open("a") as stream:
            stream.write(ROLLOUT.format(strategy=strategy))
        settings = copy_world(template, tmp_path / "home", free_ports(2))
        variant = {"ab": "challenger"}.get(strategy, strategy)
        world = Exposed(settings.model_copy(update={"zoo": zoo}), make_bundle, variant)
        running.append(world)
        world.deployer.start()
        return world

    yield install
    for world in running:
        world.deployer.stop()


def test_a_candidate_that_passed_is_rolled_back_by_its_labels_once(installed) -> None:
    world = installed("canary")
    world.expose(0.4)
    assert world.state() == (2, 2, 2, 2, 2)
    early = world.run("verdict")
    assert "0 of the candidate, 0 of the champion" in early.text
    world.publish(against("canary"))
    assert world.run("verdict", backfill=True).verdict == "not_needed"
    assert world.state()[:2] == (2, 2)
    late = world.run("verdict")
    assert late.outputs["rolled_back"] is True
    assert late.outputs["low"] > 0.05
    assert world.state() == (3, 1, 1, 3, 1)
    made = world.ledger.made_by("tiny")
    assert made is not None and made.actor == "ferryman"
    staged = [op for op in world.ledger.history("tiny") if op.op_id == made.op_id][1]
    assert staged.evidence["finding"]["low"] == late.outputs["low"]
    again = world.run("verdict")
    assert again.verdict == "not_needed"
    assert "by rollback" in again.text
    assert [look["outcome"] for look in world.looks()] == ["undecided", "failed"]
    assert world.ledger.verify() == []
    frame = world.logged()
    counts = frame[frame.propensity < 1].variant.value_counts().to_dict()
    assert late.outputs["answered"] == {
        "candidate": counts["canary"],
        "champion": counts["champion"],
        "fallback": 0,
    }
    assert abs(counts["canary"] / REQUESTS - 0.4) < 0.08


def test_a_good_one_stays_and_is_looked_at_once_a_change(installed) -> None:
    world = installed("ab")
    world.expose(0.5)
    world.publish(against("champion"), share=0.4)
    first = world.run("verdict")
    assert first.verdict == "done"
    assert first.outputs["outcome"] in ("undecided", "passed")
    same = world.run("verdict")
    assert (same.verdict, same.outputs["rolled_back"]) == ("not_needed", False)
    assert "no new labels since" in same.text
    world.publish(against("champion"))
    last = world.run("verdict")
    assert last.outputs["outcome"] == "passed"
    assert last.outputs["labelled"]["candidate"] > first.outputs["labelled"]["candidate"]
    assert world.state() == (2, 2, 2, 2, 2)
    assert len(world.looks()) == 2


def test_a_shadow_that_was_released_is_rolled_back_by_its_pairs(installed) -> None:
    world = installed("shadow")
    world.expose(1.0)
    frame = world.logged()
    shadows = frame[frame.variant == "shadow"]
    assert len(shadows) > 0.9 * REQUESTS
    theirs = dict(zip(shadows.entity_key, shadows.score, strict=True))
    world.publish(lambda row: theirs.get(row.entity_key, 1.0) < row.score)
    found = world.run("verdict")
    assert found.outputs["answered"]["candidate"] == len(shadows)
    assert found.outputs["effect"] > 0
    assert found.outputs["rolled_back"] is True
    assert world.state()[:2] == (3, 1)
    assert len(world.ledger.notes("tiny", TRAFFIC)) == 2


def test_recorded_requests_are_drawn_one_by_one_beside_a_candidate(installed) -> None:
    world = installed("ab")
    assert world.score(0).outputs["sent"] == ROWS
    alone = world.logged(FIRST_DAY)
    assert (alone.request_id.nunique(), set(alone.variant)) == (2, {"champion"})
    world.exposed(0.5, lambda _: world.score(1))
    beside = world.logged(FIRST_DAY + timedelta(days=1))
    assert beside.request_id.nunique() == len(beside) == ROWS
    assert abs((beside.variant == "challenger").mean() - 0.5) < 0.1


def test_a_rollback_that_could_not_be_made_is_made_by_the_next_run(installed) -> None:
    world = installed("canary")
    world.expose(0.4)
    world.publish(against("canary"))
    world.deployer.stop()
    with pytest.raises(DependencyUnavailable):
        world.run("verdict")
    head = world.ledger.head("tiny")
    assert head is not None and head.epoch == 2
    world.deployer.start()
    assert world.run("verdict").outputs["rolled_back"] is True
    assert world.state() == (3, 1, 1, 3, 1)
    assert [look["outcome"] for look in world.looks()] == ["failed"]
