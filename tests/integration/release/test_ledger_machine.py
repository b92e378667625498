"""Any order of acts: the ledger keeps its promises at every step, or refuses with a reason."""

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ledger_world import MODEL, REASON, finish, make_candidate
from memory_folder import memory_folder
from services.long_tests import is_long

from ferryman.errors import FerrymanError
from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import ROLLBACK, Head, Op, Routing, State

VERSIONS = strategies.integers(1, 40)
PICKS = strategies.sampled_from([0, 0, 0, 1, 2, 3])  # which of the newest operations
STATES = strategies.sampled_from(
    [State.STAGED, State.EXPOSED, State.PROVEN, State.ABORTED, State.FAILED]
)
WEIGHTS = strategies.sampled_from([0.0, 0.05, 0.25, 1.0])
HOLDERS = strategies.sampled_from(["controller", "triggerer"])


class LedgerMachine(RuleBasedStateMachine):
    """The ledger under one model's acts, beside a picture of who ought to be routed to."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=memory_folder())
        self.ledger = Ledger(f"sqlite:///{Path(self.folder.name) / 'ledger.db'}")
        self.ids: dict[str, str] = {}
        self.serial = 0
        self.barred: set[str] = set()
        self.past: list[tuple[datetime, Routing]] = []
        self.head: Head | None = None
        self.share: tuple[str, float] = ("", 0.0)

    def teardown(self) -> None:
        self.folder.cleanup()

    def attempt(self, act: Any, *given: Any, **named: Any) -> Any:
        """The result of an act; None where it was refused, and then nothing was written."""
        before = self.rows()
        try:
            return act(*given, **named)
        except FerrymanError as error:
            assert int(error.exit_code) in (2, 5, 8, 9), error
            if int(error.exit_code) != 5:
                assert self.rows() == before, error
            return None

    def rows(self) -> int:
        return len(self.ledger.history(MODEL)) + len(self.ledger.notes(MODEL))

    def epoch(self) -> int:
        return self.head.epoch if self.head else 0

    def op(self, pick: int) -> Op | None:
        ids = list(self.ids.values())
        return self.ledger.op(ids[-1 - pick]) if pick < len(ids) else None

    def begin(self, op: Op) -> Op:
        """Remember an operation as the newest one."""
        self.ids.pop(op.op_id, None)
        self.ids[op.op_id] = op.op_id
        return op

    @initialize()
    def first_release(self) -> None:
        self.gate(1, 0, False, False)
        self.commit(0, 0)

    @rule(
        ahead=strategies.sampled_from([0, 1, 1, 2]),
        behind=strategies.sampled_from([0, 0, 0, 0, 1]),
        approval=strategies.booleans(),
        exposure=strategies.booleans(),
    )
    def gate(self, ahead: int, behind: int, approval: bool, exposure: bool) -> None:
        version = max(self.head.order_key.sequence if self.head else 0, 0) + ahead
        base = max(self.epoch() - behind, 0)
        candidate = make_candidate(1, version)
        op = self.begin(self.ledger.open_op(PROMOTE, MODEL, candidate, "ann", "test"))
        requires = {"requires": {"approval": approval, "exposure": exposure}}
        self.attempt(self.ledger.advance, op.op_id, State.REGISTERED, {}, base_epoch=0)
        self.attempt(self.ledger.advance, op.op_id, State.GATED, requires, base_epoch=base)
        self.attempt(self.ledger.advance, op.op_id, State.STAGED, {}, base_epoch=base)
        self.follow()

    @rule(pick=PICKS, state=STATES)
    def advance(self, pick: int, state: State) -> None:
        if op := self.op(pick):
            self.attempt(self.ledger.advance, op.op_id, state, {})
        self.follow()

    @rule(
        pick=PICKS,
        approved=strategies.booleans(),
        actor=strategies.sampled_from(["ann", "bob"]),
    )
    def decide(self, pick: int, approved: bool, actor: str) -> None:
        if op := self.op(pick):
            done = self.attempt(
                self.ledger.decide,
                op.op_id,
                base_epoch=op.base_epoch,
                digest=op.candidate.digest,
                approved=approved,
                actor=actor,
                requester="cleo",
                reason=REASON,
            )
            assert done is None or not approved or actor == "bob"
        self.follow()

    @rule(pick=PICKS, behind=strategies.sampled_from([0, 0, 0, 1]))
    def commit(self, pick: int, behind: int) -> None:
        op = self.op(pick)
        if op is None:
            return
        known = self.ledger.committed_head(op.op_id)
        made = self.attempt(self.ledger.commit, op.op_id, max(self.epoch() - behind, 0))
        self.follow()  # one that is refused as an older one is over, and its share with it
        if made is None or known is not None:
            return
        assert op.candidate.digest not in self.barred
        assert made.epoch == self.epoch() + 1
        if self.head is not None:
            assert made.order_key >= self.head.order_key
            assert op.kind == ROLLBACK or not self.head.frozen
        if op.kind == ROLLBACK and self.head is not None:
            self.barred.add(self.head.digest)
        self.head, self.share = made, ("", 0.0)
        finish(self.ledger, op.op_id)

    @precondition(lambda self: self.head is not None)
    @rule(version=VERSIONS)
    def ask_rollback(self, version: int) -> None:
        self.ask(self.ledger.open_rollback, version)

    @rule(version=VERSIONS)
    def ask_adoption(self, version: int) -> None:
        self.ask(self.ledger.open_adoption, version)

    def ask(self, begin: Callable[..., Op], version: int) -> None:
        op = self.attempt(begin, MODEL, make_candidate(1, version), actor="ann", reason=REASON)
        self.stage_request(op)

    def stage_request(self, op: Op | None) -> None:
        if op is not None:
            self.begin(op)
            self.attempt(self.ledger.advance, op.op_id, State.STAGED, {})

    @rule(pick=PICKS, holder=HOLDERS)
    def take_lease(self, pick: int, holder: str) -> None:
        if op := self.op(pick):
            lease = self.attempt(self.ledger.take_lease, MODEL, op.op_id, holder, 600)
            assert lease is None or lease.serial >= self.serial
            self.serial = lease.serial if lease else self.serial

    @rule()
    def promote(self) -> None:
        self.gate(1, 0, False, False)
        self.commit(0, 0)

    @rule(behind=strategies.sampled_from([0, 0, 0, 1]))
    def expose(self, behind: int) -> None:
        """The way to a share, which chance alone seldom finds."""
        self.gate(1, behind, False, True)
        self.advance(0, State.EXPOSED)
        self.take_lease(0, "controller")
        self.set_traffic(0, 0.05, 0)

    @precondition(lambda self: bool(self.ledger.good_versions(MODEL)))
    @rule()
    def roll_back(self) -> None:
        target = self.ledger.good_versions(MODEL)[0]
        self.ask_rollback(target.version)
        self.commit(0, 0)
        assert self.head is not None and self.head.digest == target.digest, "frozen or not"

    @rule()
    def drop_lease(self) -> None:
        self.ledger.drop_lease(MODEL, self.serial)
        assert self.ledger.lease(MODEL) is None

    @rule(pick=PICKS, weight=WEIGHTS, behind=strategies.sampled_from([0, 0, 0, 1]))
    def set_traffic(self, pick: int, weight: float, behind: int) -> None:
        op = self.op(pick)
        if op is None:
            return
        note = self.attempt(
            self.ledger.set_traffic,
            op.op_id,
            serial=self.serial - behind,
            stage=0,
            variant="canary",
            weight=weight,
            reason="stage",
            evidence={},
            lease_seconds=600,
        )
        if note is not None and weight:
            held = self.ledger.lease(MODEL)
            assert held is not None and (held.op_id, behind) == (op.op_id, 0)
            assert op.candidate.digest not in self.barred
            self.share = (op.op_id, weight)
        elif note is not None and self.share[0] == op.op_id:
            self.share = ("", 0.0)

    @precondition(lambda self: self.head is not None)
    @rule(frozen=strategies.booleans())
    def freeze(self, frozen: bool) -> None:
        self.ledger.set_frozen(MODEL, frozen, actor="ann", reason=REASON)
        assert self.head is not None
        self.head = self.head._replace(frozen=frozen)

    @rule(version=VERSIONS)
    def quarantine(self, version: int) -> None:
        if self.head is not None and self.head.version != version:
            self.ledger.quarantine(MODEL, f"{version:064x}", why=REASON, actor="ann")
            self.barred.add(f"{version:064x}")

    @rule(version=VERSIONS, held=strategies.booleans())
    def hold(self, version: int, held: bool) -> None:
        self.attempt(self.ledger.set_held, MODEL, version, held, actor="ann", reason=REASON)

    def follow(self) -> None:
        """A share ends with its operation, or when that is judged anew."""
        op = self.ledger.op(self.share[0]) if self.share[0] else None
        if op is not None and op.state not in (State.EXPOSED, State.PROVEN):
            self.share = ("", 0.0)

    @invariant()
    def the_ledger_is_whole(self) -> None:
        assert self.ledger.verify() == []
        assert all(self.ledger.is_quarantined(MODEL, digest) for digest in self.barred)

    @invariant()
    def routing_is_as_it_was_decided(self) -> None:
        routing, head = self.ledger.routing(MODEL), self.ledger.head(MODEL)
        assert routing.head == head
        assert (routing.op_id, routing.weight) == self.share
        if head is not None and self.head is not None:
            assert head._replace(last_good=[]) == self.head._replace(last_good=[])
        rows = self.ledger.history(MODEL) + self.ledger.notes(MODEL)
        if rows:
            self.past.append((max(row.at for row in rows), routing))

    @invariant()
    def the_protected_cover_head_target_and_candidate(self) -> None:
        kept = {one.digest: one.why for one in self.ledger.protected(MODEL)}
        routing, good = self.ledger.routing(MODEL), self.ledger.good_versions(MODEL)
        assert routing.head is None or "serving" in kept[routing.head.digest]
        assert not good or "rollback target" in kept[good[0].digest]
        assert not routing.weight or "canary" in kept[routing.digest]
        assert not {candidate.digest for candidate in good} & self.barred

    @invariant()
    def a_past_moment_is_told_as_it_was(self) -> None:
        if self.past:
            at, told = self.past[len(self.past) // 2]
            same = [one for moment, one in self.past if moment == at][-1]
            assert self.ledger.routing(MODEL, at)._replace(at=same.at) == same, told


# What random draws found, kept.
FOUND: dict[str, list[tuple[Any, ...]]] = {
    # A candidate no newer than the one that was adopted: its commit ends it, and its share.
    "a share ends with a refused commit": [
        ("first_release",),
        ("ask_adoption", 17),
        ("commit", 0, 0),
        ("gate", 0, 0, False, True),
        ("advance", 0, State.EXPOSED),
        ("take_lease", 0, "controller"),
        ("set_traffic", 0, 0.05, 0),
        ("commit", 0, 0),
    ],
}


@pytest.fixture
def _ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that ticks with every reading: no two rows have one time."""
    now = [datetime(2030, 1, 1, tzinfo=UTC)]

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            assert tz is UTC
            now[0] += timedelta(microseconds=1)
            return now[0]

    monkeypatch.setattr("ferryman.ledger.appending.datetime", Clock)


@pytest.mark.usefixtures("_ticking")
@pytest.mark.parametrize("acts", FOUND.values(), ids=FOUND)
def test_what_was_found_before(acts: list[tuple[Any, ...]]) -> None:
    machine: Any = LedgerMachine()
    try:
        for name, *given in acts:
            getattr(machine, name)(*given)
            machine.the_ledger_is_whole()
            machine.routing_is_as_it_was_decided()
            machine.the_protected_cover_head_target_and_candidate()
            machine.a_past_moment_is_told_as_it_was()
        assert machine.ledger.op(list(machine.ids)[-1]).state is State.SUPERSEDED
    finally:
        machine.teardown()


@pytest.mark.usefixtures("_ticking")
@pytest.mark.timeout(1800 if is_long() else 300)  # many draws, and what fails is made smaller
def test_any_order_of_acts() -> None:
    machine: Any = LedgerMachine.TestCase
    machine.settings = settings(
        max_examples=100 if is_long() else 20,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    machine().runTest()
