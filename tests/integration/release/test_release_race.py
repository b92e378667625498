"""Releases, canaries and a rollback at once, with kills and stops: one wins, and all agree."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from ledger_world import REASON
from line_candidates import LINE
from line_users import Seen, User, spread
from line_world import LineWorld, Made, takes
from release_racer import promote
from services.long_tests import seeds

from ferryman.ledger.records import TRAFFIC, Op, State
from ferryman.steps import rollout_share
from ferryman.steps.expose import look
from ferryman.steps.reconcile import reconcile_model
from ferryman.steps.roll_back import Asked, roll_back

RACER = Path(__file__).with_name("release_racer.py")
CONTENDERS = 6
LEASE = 2.0  # seconds


@pytest.fixture
def world(tmp_path: Path, empty_mlflow: Path, free_ports: Any) -> Iterator[LineWorld]:
    """Versions 1 and 2 served, version 2 is champion at epoch 2."""
    world = LineWorld.started(tmp_path / "home", free_ports(2), empty_mlflow)
    try:
        for day in (1, 2):
            world.serve(world.register(day))
        yield world
    finally:
        world.close()


def plan_of(world: LineWorld, contenders: list[tuple[Made, bool]], **more: Any) -> str:
    told = {"home", "zoo", "serving_port", "serving_admin_port"}
    return json.dumps(
        {
            "settings": world.settings.model_dump(mode="json", include=told),
            "candidates": [(made.candidate.model_dump(mode="json"), by) for made, by in contenders],
            "lease": LEASE,
            "hold": 0.05,
            **more,
        }
    )


@contextmanager
def many_users(world: LineWorld) -> Iterator[list[int]]:
    """Users enough for every stage; the versions that answered."""
    stop = threading.Event()
    versions: list[int] = []
    wrong: list[Seen] = []

    def ask() -> None:
        with User(world.settings.serving_port) as user:
            for key in count():
                if stop.wait(0.005):
                    return
                seen = user.ask(key, spread(key))
                versions.append(seen.version)
                if seen.failures or seen.score != world.made[seen.version].answer(seen.x):
                    wrong.append(seen)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield versions
    finally:
        stop.set()
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("seed", seeds(*range(1, 26)))
def test_the_newest_wins_unless_it_was_rolled_back(world: LineWorld, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test's order, not a secret
    days = chance.sample(range(3, 3 + CONTENDERS), CONTENDERS)
    made = [world.register(day) for day in days]
    contenders = [(one, number % 2 == 0) for number, one in enumerate(made)]
    plan = plan_of(
        world,
        contenders,
        seed=seed,
        killed=chance.sample(range(CONTENDERS + 1), 3),
        rollback_after=chance.uniform(0.2, 2.5),
    )
    with many_users(world) as versions:
        done = subprocess.run(
            [sys.executable, str(RACER), plan], stdout=subprocess.PIPE, check=True, timeout=240
        )
        reconcile_model(world.ledger, world.settings, LINE)
        assert world.agreed()
        ended = len(versions)
        with User(world.settings.serving_port) as user:
            user.ask(1, 1.0)
    first, again, lost = json.loads(done.stdout)
    assert set(first) <= {0, -signal.SIGKILL} and set(again) == {0}, done
    head = world.ledger.head(LINE)
    assert head is not None
    assert set(versions[ended + 1 :]) <= {head.version}
    newest = max(made, key=lambda one: one.candidate.cutoff)
    barred = world.ledger.is_quarantined(LINE, newest.bundle.digest)
    assert head.version == newest.candidate.version or barred
    assert not world.ledger.is_quarantined(LINE, head.digest)
    commits, hit = check_ledger(world), first.count(-signal.SIGKILL)
    assert hit, "nobody was killed"
    sys.stdout.write(f"seed {seed}: {hit} kills hit, {commits} commits, {lost} lost races\n")


def check_ledger(world: LineWorld) -> int:
    """How many commits there are."""
    ledger = world.ledger
    assert ledger.verify() == []
    ops = [op for op in ledger.ops(LINE) if op.kind == "promote"]
    assert max(Counter(op.candidate.version for op in ops).values()) == 1
    commits = [op for op in ledger.history(LINE) if op.state is State.COMMITTED]
    assert [op.base_epoch for op in commits] == list(range(len(commits)))
    assert max(Counter(op.op_id for op in commits).values()) == 1
    assert sum(op.kind == "rollback" for op in commits) == 1
    given = [note.evidence for note in ledger.notes(LINE, TRAFFIC) if note.evidence["weight"]]
    holders = {(told["serial"], told["op"]) for told in given}
    assert len(holders) == len({serial for serial, _ in holders}), "a lease had two holders"
    assert all(one["serial"] <= other["serial"] for one, other in pairwise(given))
    return len(commits)


def test_a_candidate_beside_the_champion_is_not_taken_for_it(world: LineWorld) -> None:
    """A rollback that is asked for again asks the champion, whoever has a share by then."""
    asked = Asked("ann", REASON)
    assert roll_back(world.settings, LINE, asked).left == 2
    op = world.staged(world.register(3))
    await_share(world, op)
    for _ in range(12):
        again = roll_back(world.settings, LINE, asked)
        assert again.left is None and "version 1 (epoch 3) answers as recorded" in again.text
    the_share_is_of(world, op, champion=1)


class Stopped:
    """A release in a process of its own, that has stopped itself at a point."""

    def __init__(self, world: LineWorld, made: Made, point: str, *, exposure: bool) -> None:
        plan = plan_of(world, [(made, exposure)], stop=point)
        self.process = subprocess.Popen([sys.executable, str(RACER), plan])
        known = psutil.Process(self.process.pid)
        until = time.monotonic() + 60
        while known.status() != psutil.STATUS_STOPPED:
            assert self.process.poll() is None and time.monotonic() < until
            time.sleep(0.02)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def wait(self) -> int:
        return self.process.wait(timeout=60)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


COMMITS = "ferryman.ledger.ledger:Ledger.commit:1"
LOADS = "ferryman.serving.client:ServingClient.load:1"
NAMES = "ferryman.registry.mlflow_registry:MlflowRegistry.set_alias:1"


def test_an_orphan_writes_nothing_behind_the_attempt_that_took_its_place(world: LineWorld) -> None:
    for day, point in enumerate((COMMITS, LOADS, NAMES), start=3):
        made = world.register(day)
        with many_users(world) as versions:
            orphan = Stopped(world, made, point, exposure=False)
            try:
                promote(world, made.candidate, exposure=False)
                assert world.agreed() and (world.epoch, world.alias()) == (day, day)
                rows, begun = world.ledger.history(LINE), len(versions)
                orphan.go_on()
                assert orphan.wait() == 0
            finally:
                orphan.end()
            await_answers(versions, begun + 20)
        assert set(versions[begun + 1 :]) == {day}  # one was on its way
        assert world.ledger.history(LINE) == rows
        assert world.agreed() and (world.epoch, world.alias()) == (day, day)
        assert [op.candidate.version for op in world.ledger.ops(LINE)] == [*range(1, day + 1)]
    assert world.ledger.verify() == []


def test_a_release_that_slept_before_its_alias_does_not_undo_a_newer_one(world: LineWorld) -> None:
    # In its door to the server it is late by an epoch, before the alias by a name.
    for first, (point, served) in ((3, (NAMES, 3)), (5, (LOADS, 4))):
        with many_users(world) as versions:
            stopped = Stopped(world, world.register(first), point, exposure=False)
            try:
                head, told = world.ledger.head(LINE), world.client.status(LINE)
                assert head is not None and told is not None
                assert (head.version, told["version"], world.alias()) == (first, served, first - 1)
                world.serve(world.register(first + 1))
                assert world.agreed() and world.alias() == first + 1
                begun, woken = len(versions), time.monotonic()
                stopped.go_on()
                assert stopped.wait() == 0
                assert world.agreed() and time.monotonic() - woken < 60
            finally:
                stopped.end()
            await_answers(versions, begun + 20)
        assert set(versions[begun + 1 :]) == {first + 1}
        assert (world.epoch, world.alias()) == (first + 1, first + 1)
    assert world.ledger.verify() == []


def await_answers(versions: list[int], wanted: int) -> None:
    until = time.monotonic() + 30
    while len(versions) < wanted:
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize(
    "point",
    [
        "ferryman.ledger.ledger:Ledger.set_traffic:1",  # it has the lease, and no share yet
        "ferryman.steps.rollout_share:_tell_server:2",  # it renewed the lease, and not the share
    ],
)
def test_an_exposure_that_slept_beyond_its_lease_writes_nothing(
    world: LineWorld, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout_share, "LEASE", 60.0)
    older, newer = world.register(3), world.register(4)
    stopped = Stopped(world, older, point, exposure=True)
    try:
        op = world.staged(newer)
        await_share(world, op)
        before = rows_of_shares(world)
        stopped.go_on()
        watched = time.monotonic() + 1.5
        while time.monotonic() < watched:
            the_share_is_of(world, op)
        assert rows_of_shares(world) == before
        with many_users(world):
            await_passed(world, op)
        world.ledger.commit(op.op_id, op.base_epoch)
        reconcile_model(world.ledger, world.settings, LINE)
        assert stopped.wait() == 0  # superseded
    finally:
        stopped.end()
    ends = {one.candidate.version: one.state for one in world.ledger.ops(LINE)}
    assert (ends[3], ends[4]) == (State.SUPERSEDED, State.DONE)
    assert world.agreed() and world.alias() == 4
    assert world.ledger.verify() == []


def rows_of_shares(world: LineWorld) -> int:
    return len(world.ledger.notes(LINE, TRAFFIC))


def await_share(world: LineWorld, op: Op) -> None:
    """Look as a release does, until the other's lease has run out."""
    until = time.monotonic() + 30
    while world.ledger.routing(LINE).op_id != op.op_id:
        assert time.monotonic() < until
        assert look(world.settings, world.model, op.op_id, op.base_epoch, 0).outcome == "hold"
        time.sleep(0.1)


def await_passed(world: LineWorld, op: Op) -> None:
    until = time.monotonic() + 60
    for stage in range(len(world.model.spec.rollout.planned)):
        while look(world.settings, world.model, op.op_id, op.base_epoch, stage).outcome == "hold":
            assert time.monotonic() < until
            time.sleep(0.1)


def the_share_is_of(world: LineWorld, op: Op, champion: int = 2) -> None:
    told, state = world.ledger.routing(LINE), world.client.traffic(LINE)
    assert told.op_id == op.op_id and state is not None and state.traffic.op == op.op_id
    with User(world.settings.serving_port) as user:
        for key in range(20):
            seen = user.ask(key, spread(key))
            taken = takes(op.op_id, told.weight, key)
            assert seen.version == (op.candidate.version if taken else champion), seen
