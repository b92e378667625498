"""Leases, shares, holds and drills, in every database that a ledger may be in."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ledger_world import (
    MODEL,
    REASON,
    exposed,
    make_candidate,
    release,
    set_weight,
    staged,
)

from ferryman.errors import LostRace, PolicyRefused, SpecError
from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import TRAFFIC, Note, State


def test_a_drill_is_exposed_and_never_committed(ledger: Ledger) -> None:
    release(ledger, 1)
    bad = make_candidate(28, 0, digest="d" * 64)
    with pytest.raises(SpecError, match="drill"):
        ledger.open_op(PROMOTE, MODEL, bad, "ann", "test")
    op = ledger.open_drill(MODEL, bad, actor="ann", reason="weekly")
    assert ledger.open_drill(MODEL, bad, actor="ann", reason="weekly") == op
    ledger.advance(op.op_id, State.EXPOSED, {})
    serial = ledger.take_lease(MODEL, op.op_id, "drill", 60).serial
    set_weight(ledger, op, serial, 0.05)
    assert ledger.routing(MODEL).digest == "d" * 64
    assert [kept.version for kept in ledger.protected(MODEL)] == [1]
    for state in (State.PROVEN, State.COMMITTED, State.FAILED):
        with pytest.raises(PolicyRefused):
            ledger.advance(op.op_id, state, {})
    with pytest.raises(PolicyRefused, match="drill"):
        ledger.commit(op.op_id, 1)
    set_weight(ledger, op, serial, 0)
    ledger.advance(op.op_id, State.ABORTED, {})
    assert ledger.verify() == []


def test_a_lease_has_one_holder_and_its_serial_only_rises(ledger: Ledger) -> None:
    release(ledger, 1)
    op, serial = exposed(ledger, 8)
    other = staged(ledger, make_candidate(9, 9), 1)
    held = ledger.take_lease(MODEL, op.op_id, "controller", 60)
    assert held.serial == serial == 1, "renewed"
    with pytest.raises(LostRace, match="controller holds"):
        ledger.take_lease(MODEL, other.op_id, "controller", 60)
    taken = ledger.take_lease(MODEL, op.op_id, "triggerer", 60)
    assert taken.serial == 2
    with pytest.raises(LostRace):
        ledger.renew_lease(MODEL, 1, 60)
    ledger.drop_lease(MODEL, 1)
    assert ledger.renew_lease(MODEL, 2, 60).expires_at >= taken.expires_at
    for _ in range(2):
        ledger.drop_lease(MODEL, 2)
    assert ledger.lease(MODEL) is None
    with pytest.raises(LostRace):
        ledger.renew_lease(MODEL, 2, 60)
    assert ledger.take_lease(MODEL, other.op_id, "controller", 0.05).serial == 3
    deadline = time.monotonic() + 30
    while ledger.lease(MODEL) is not None:
        assert time.monotonic() < deadline, "a lease that nobody renews ends"
    with pytest.raises(LostRace):
        ledger.renew_lease(MODEL, 3, 60)
    assert ledger.take_lease(MODEL, other.op_id, "controller", 60).serial == 4
    for seconds in (0, -1, float("nan"), float("inf"), 10**9):
        with pytest.raises(SpecError):
            ledger.take_lease(MODEL, other.op_id, "controller", seconds)
    with pytest.raises(SpecError, match="no operation"):
        ledger.take_lease(MODEL, "f" * 64, "controller", 60)
    with pytest.raises(SpecError, match="of flights"):
        ledger.take_lease("another", op.op_id, "controller", 60)


def test_a_share_needs_its_lease_and_is_noted_once(ledger: Ledger) -> None:
    release(ledger, 1)
    op, serial = exposed(ledger, 8)
    first = set_weight(ledger, op, serial, 0.05)
    assert set_weight(ledger, op, serial, 0.05) == first
    assert first.evidence["base_epoch"] == 1 and first.evidence["lease_seconds"] == 30
    more = set_weight(ledger, op, serial, 0.25, stage=1, evidence={"errors": 0, "op": "forged"})
    assert more.evidence["before"]["weight"] == 0.05 and more.evidence["errors"] == 0
    assert more.evidence["op"] == op.op_id
    with pytest.raises(LostRace):
        set_weight(ledger, op, serial + 1, 0.5)
    taken = ledger.take_lease(MODEL, op.op_id, "triggerer", 60).serial
    for weight in (0.5, 0):  # the old controller has nothing to say any more
        with pytest.raises(LostRace):
            set_weight(ledger, op, serial, weight)
    ledger.drop_lease(MODEL, taken)
    with pytest.raises(LostRace):
        set_weight(ledger, op, taken, 0.5)
    back = set_weight(ledger, op, serial, 0)
    assert set_weight(ledger, op, taken, 0) == back
    assert [note.evidence["weight"] for note in ledger.notes(MODEL, TRAFFIC)] == [0.05, 0.25, 0]
    assert ledger.routing(MODEL).weight == 0
    assert ledger.verify() == []


SENSELESS: list[dict[str, Any]] = [
    {"weight": 1.01},
    {"weight": -0.1},
    {"weight": float("nan")},
    {"variant": "champion"},
    {"stage": -1},
    {"lease_seconds": float("inf")},
]


def test_a_share_that_makes_no_sense_is_refused(ledger: Ledger) -> None:
    release(ledger, 1)
    op, serial = exposed(ledger, 8)
    for changes in SENSELESS:
        with pytest.raises(SpecError):
            set_weight(ledger, op, serial, **{"weight": 0.1, **changes})


def test_a_share_is_refused_where_its_candidate_may_not_serve(ledger: Ledger) -> None:
    release(ledger, 1)
    waiting = staged(ledger, make_candidate(9, 9), 1)
    serial = ledger.take_lease(MODEL, waiting.op_id, "controller", 60).serial
    with pytest.raises(PolicyRefused, match="STAGED"):
        set_weight(ledger, waiting, serial, 0.05)
    ledger.advance(waiting.op_id, State.EXPOSED, {})
    ledger.set_frozen(MODEL, True, actor="ann", reason=REASON)
    with pytest.raises(PolicyRefused, match="frozen"):
        set_weight(ledger, waiting, serial, 0.05)
    ledger.set_frozen(MODEL, False, actor="ann", reason=REASON)
    release(ledger, 2)
    with pytest.raises(LostRace, match="epoch 2"):
        set_weight(ledger, waiting, serial, 0.05)
    ledger.quarantine(MODEL, waiting.candidate.digest, why=REASON, actor="ann")
    with pytest.raises(PolicyRefused, match="quarantined"):
        set_weight(ledger, waiting, serial, 0.05)


def test_routing_of_any_moment_is_what_it_was_then(ledger: Ledger) -> None:
    seen = [(None, ledger.routing(MODEL))]

    def look() -> None:
        newest = max(ledger.history(MODEL) + ledger.notes(MODEL), key=lambda row: row.seq)
        seen.append((newest.at, ledger.routing(MODEL)))

    release(ledger, 1)
    look()
    op, serial = exposed(ledger, 8)
    for weight in (0.05, 0.25, 0):
        set_weight(ledger, op, serial, weight, variant="challenger")
        look()
    ledger.set_frozen(MODEL, True, actor="ann", reason=REASON)
    look()
    ledger.set_frozen(MODEL, False, actor="ann", reason=REASON)
    release(ledger, 2)
    look()
    for at, routing in seen[1:]:
        assert ledger.routing(MODEL, at)._replace(at=routing.at) == routing
    first = ledger.history(MODEL)[0].at
    assert ledger.routing(MODEL, first).head is None
    with pytest.raises(SpecError, match="time zone"):
        ledger.routing(MODEL, first.replace(tzinfo=None))


def test_what_is_held_is_protected(ledger: Ledger) -> None:
    release(ledger, 1)
    release(ledger, 2)
    release(ledger, 3)
    for _ in range(2):
        ledger.set_held(MODEL, 1, True, actor="ann", reason=REASON)
        ledger.set_held(MODEL, 3, True, actor="ann", reason=REASON)
    kept = {kept.version: kept.why for kept in ledger.protected(MODEL)}
    assert kept == {1: ("legal hold",), 2: ("rollback target",), 3: ("serving", "legal hold")}
    ledger.set_held(MODEL, 1, False, actor="ann", reason=REASON)
    assert [kept.version for kept in ledger.protected(MODEL)] == [2, 3]
    assert [note.kind for note in ledger.notes(MODEL)] == ["hold", "hold", "unhold"]
    with pytest.raises(SpecError, match="no version 7"):
        ledger.set_held(MODEL, 7, True, actor="ann", reason=REASON)
    assert ledger.verify() == []


def test_notes_of_programs_are_one_line_and_have_no_effects(ledger: Ledger) -> None:
    note = ledger.note("guard", MODEL, actor="guard", reason="moved\nby\x00hand", evidence={"v": 1})
    assert note.reason == "moved by hand"
    assert ledger.notes(MODEL, "guard") == [note] and ledger.notes(MODEL, "alert") == []
    for kind in ("traffic", "freeze", "hold", "quarantine", "promote"):
        with pytest.raises(SpecError):
            ledger.note(kind, MODEL, actor="guard", reason="moved by hand", evidence={})
    assert ledger.verify() == []


def test_what_many_note_at_once_is_noted_once(ledger: Ledger) -> None:
    def note(number: int) -> Note:
        told: dict[str, Any] = {"run_id": f"run {number % 2}", "by": number}
        return ledger.note(
            "alert", MODEL, actor="alertmanager", reason="it fails", evidence=told, once_by="run_id"
        )

    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(note, range(16)))
    kept = ledger.notes(MODEL, "alert")
    assert sorted(str(one.evidence["run_id"]) for one in kept) == ["run 0", "run 1"]
    assert {one.seq for one in written} == {one.seq for one in kept}
    assert ledger.verify() == []


def test_an_old_candidate_takes_nothing_from_the_next_one(ledger: Ledger) -> None:
    release(ledger, 1)
    old, first = exposed(ledger, 8)
    set_weight(ledger, old, first, 0.05)
    ledger.drop_lease(MODEL, first)
    new, second = exposed(ledger, 9)
    set_weight(ledger, new, second, 0.25)
    with pytest.raises(LostRace, match="held by"):
        set_weight(ledger, old, first, 0)
    ledger.drop_lease(MODEL, second)
    taken = set_weight(ledger, old, first, 0)
    assert set_weight(ledger, old, first, 0) == taken
    assert (ledger.routing(MODEL).op_id, ledger.routing(MODEL).weight) == (new.op_id, 0.25)
    assert ledger.verify() == []
