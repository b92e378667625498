"""Promotions and approvals, in every database that a ledger may be in."""

from typing import Any

import pytest
from ledger_world import (
    MODEL,
    REASON,
    decide,
    exposed,
    finish,
    make_candidate,
    release,
    set_weight,
    staged,
)

from ferryman.errors import FerrymanError, LostRace, PolicyRefused, SpecError
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import State


def rows(ledger: Ledger) -> int:
    return len(ledger.history(MODEL)) + len(ledger.notes(MODEL))


def test_a_release_with_approval_and_canary_from_start_to_end(ledger: Ledger) -> None:
    release(ledger, 1)
    op = staged(ledger, make_candidate(2, 2), 1, approval=True, exposure=True)
    with pytest.raises(PolicyRefused, match="never APPROVED"):
        ledger.commit(op.op_id, 1)
    with pytest.raises(PolicyRefused, match="not approved yet"):
        ledger.advance(op.op_id, State.EXPOSED, {})
    approved = decide(ledger, op)
    assert (approved.state, approved.actor, approved.reason) == (State.APPROVED, "bob", REASON)
    with pytest.raises(PolicyRefused, match="never EXPOSED"):
        ledger.commit(op.op_id, 1)
    ledger.advance(op.op_id, State.EXPOSED, {})
    with pytest.raises(PolicyRefused, match="is EXPOSED"):
        ledger.commit(op.op_id, 1)
    serial = ledger.take_lease(MODEL, op.op_id, "controller", 60).serial
    set_weight(ledger, op, serial, 0.05)
    routing = ledger.routing(MODEL)
    assert (routing.op_id, routing.version, routing.weight) == (op.op_id, 2, 0.05)
    assert {kept.version: kept.why for kept in ledger.protected(MODEL)} == {
        1: ("serving",),
        2: ("canary",),
    }
    proven = ledger.advance(op.op_id, State.PROVEN, {})
    assert (proven.actor, proven.reason) == ("ann", "test"), "a step is the requester's again"
    assert ledger.commit(op.op_id, 1).version == 2
    assert ledger.routing(MODEL).weight == 0
    finish(ledger, op.op_id)
    assert {kept.version: kept.why for kept in ledger.protected(MODEL)} == {
        1: ("rollback target",),
        2: ("serving",),
    }
    assert ledger.verify() == []


REFUSED: list[tuple[dict[str, Any], type[FerrymanError], str]] = [
    ({"actor": "Cleo"}, PolicyRefused, "may not approve"),
    ({"actor": "ＣＬＥＯ "}, PolicyRefused, "may not approve"),
    ({"actor": "ANN"}, PolicyRefused, "may not approve"),
    ({"actor": " "}, SpecError, "names nobody"),
    ({"requester": ""}, SpecError, "names nobody"),
    ({"digest": "f" * 64}, PolicyRefused, "the answer is to digest"),
    ({"base_epoch": 2}, PolicyRefused, "epoch 2"),
    ({"reason": "too short"}, SpecError, "10 to 500"),
    ({"reason": "x" * 501}, SpecError, "501 characters"),
    ({"reason": "looks good\x1b[2J to me"}, SpecError, "control"),
    ({"reason": "looks good\u202e to me"}, SpecError, "control"),
]


def test_an_approval_is_refused(ledger: Ledger) -> None:
    release(ledger, 1)
    op = staged(ledger, make_candidate(2, 2), 1, approval=True)
    before = rows(ledger)
    for changes, error, text in REFUSED:
        with pytest.raises(error, match=text):
            decide(ledger, op, **changes)
    assert rows(ledger) == before


def test_an_answer_is_final_and_bound_to_its_epoch(ledger: Ledger) -> None:
    release(ledger, 1)
    op = staged(ledger, make_candidate(9, 9), 1, approval=True)
    decide(ledger, op)
    before = rows(ledger)
    assert decide(ledger, op, actor="dan").state is State.APPROVED
    assert rows(ledger) == before
    with pytest.raises(PolicyRefused, match="APPROVED by bob"):
        decide(ledger, op, approved=False)
    release(ledger, 2)
    with pytest.raises(LostRace):  # approved, and the champion changed before the commit
        ledger.commit(op.op_id, 1)
    again = staged(ledger, make_candidate(9, 9), 2, approval=True)
    with pytest.raises(PolicyRefused, match="never APPROVED"):
        ledger.commit(op.op_id, 2)
    with pytest.raises(PolicyRefused, match="epoch 1"):
        decide(ledger, op)
    decide(ledger, again)
    assert ledger.commit(op.op_id, 2).version == 9
    assert ledger.verify() == []


def test_a_no_is_final_at_its_epoch_and_may_be_the_requesters_own(ledger: Ledger) -> None:
    release(ledger, 1)
    op = staged(ledger, make_candidate(9, 9), 1, approval=True)
    assert decide(ledger, op, approved=False, actor="ann").state is State.REJECTED
    assert decide(ledger, op, approved=False).state is State.REJECTED
    for refused in (
        lambda: decide(ledger, op),
        lambda: ledger.commit(op.op_id, 1),
        lambda: ledger.advance(op.op_id, State.STAGED, {}, base_epoch=1),
    ):
        with pytest.raises(PolicyRefused, match="REJECTED"):
            refused()
    release(ledger, 2)
    assert staged(ledger, make_candidate(9, 9), 2).state is State.STAGED
    assert ledger.verify() == []


def test_approval_of_what_lost_its_champion_is_a_lost_race(ledger: Ledger) -> None:
    release(ledger, 1)
    op = staged(ledger, make_candidate(9, 9), 1, approval=True)
    release(ledger, 2)
    with pytest.raises(LostRace, match="epoch 2"):
        decide(ledger, op)
    assert decide(ledger, op, approved=False).state is State.REJECTED


def test_what_was_aborted_stays_so_at_its_epoch(ledger: Ledger) -> None:
    release(ledger, 1)
    op, serial = exposed(ledger, 9)
    set_weight(ledger, op, serial, 0.05)
    ledger.advance(op.op_id, State.ABORTED, {"why": "errors"})
    assert ledger.routing(MODEL).weight == 0
    for state in (State.GATED, State.STAGED, State.EXPOSED, State.PROVEN):
        with pytest.raises(PolicyRefused, match="ABORTED") as refused:
            ledger.advance(op.op_id, state, {}, base_epoch=1)
        assert "new candidate" in refused.value.remedy
    with pytest.raises(PolicyRefused, match="ABORTED"):
        ledger.commit(op.op_id, 1)
    release(ledger, 2)
    assert staged(ledger, make_candidate(9, 9), 2).base_epoch == 2
    assert ledger.verify() == []
