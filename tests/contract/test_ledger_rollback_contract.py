"""Rollbacks and adoptions, in every database that a ledger may be in."""

import pytest
from ledger_world import (
    MODEL,
    REASON,
    decide,
    make_candidate,
    release,
    roll_back,
    staged,
)

from ferryman.errors import LostRace, PolicyRefused, SpecError, Superseded
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import ROLLBACK, State


def test_a_rollback_leaves_for_good(ledger: Ledger) -> None:
    for version in (1, 2, 3):
        release(ledger, version)
    ledger.set_frozen(MODEL, True, actor="ann", reason=REASON)
    good = ledger.good_versions(MODEL)
    assert [candidate.version for candidate in good] == [2, 1]
    op, head = roll_back(ledger, good[0])
    assert (head.epoch, head.version, head.order_key.sequence) == (4, 2, 3)
    assert head.frozen
    assert ledger.is_quarantined(MODEL, f"{3:064x}") == REASON
    made = ledger.made_by(MODEL)
    assert made is not None and (made.kind, made.op_id) == (ROLLBACK, op.op_id)
    assert made.evidence["before"]["version"] == 3
    assert [candidate.version for candidate in ledger.good_versions(MODEL)] == [1]
    assert ledger.commit(op.op_id, 3) == ledger.committed_head(op.op_id)
    ledger.set_frozen(MODEL, False, actor="ann", reason=REASON)
    with pytest.raises(PolicyRefused, match="quarantined"):
        ledger.open_rollback(MODEL, make_candidate(3, 3), actor="ann", reason=REASON)
    older = staged(ledger, make_candidate(2, 7), 4)
    with pytest.raises(Superseded):  # the order key did not fall
        ledger.commit(older.op_id, 4)
    assert ledger.verify() == []


def test_a_rollback_asked_twice_is_one_step(ledger: Ledger) -> None:
    for version in (1, 2, 3):
        release(ledger, version)
    target = ledger.good_versions(MODEL)[0]
    first = ledger.open_rollback(MODEL, target, actor="ann", reason=REASON, base_epoch=3)
    second = ledger.open_rollback(MODEL, target, actor="bob", reason=REASON, base_epoch=3)
    assert second == first
    op, _ = roll_back(ledger, target, base_epoch=3)
    assert op.op_id == first.op_id
    done = ledger.open_rollback(MODEL, target, actor="bob", reason=REASON)
    assert (done.op_id, done.state) == (op.op_id, State.DONE)
    with pytest.raises(LostRace, match="epoch 4"):
        other = make_candidate(1, 1)
        ledger.open_rollback(MODEL, other, actor="bob", reason=REASON, base_epoch=3)
    head = ledger.head(MODEL)
    assert head is not None and (head.epoch, head.version) == (4, 2)


def test_of_two_rollbacks_at_one_epoch_the_newer_request_counts(ledger: Ledger) -> None:
    for version in (1, 2, 3):
        release(ledger, version)
    newer, older = ledger.good_versions(MODEL)
    first = ledger.open_rollback(MODEL, newer, actor="ann", reason=REASON)
    ledger.advance(first.op_id, State.STAGED, {})
    second = ledger.open_rollback(MODEL, older, actor="bob", reason=REASON)
    assert second.op_id != first.op_id
    with pytest.raises(PolicyRefused, match="FAILED"):
        ledger.commit(first.op_id, 3)
    ledger.advance(second.op_id, State.FAILED, {"why": "its bytes are broken"})
    third = ledger.open_rollback(MODEL, newer, actor="bob", reason=REASON)
    assert len({first.op_id, second.op_id, third.op_id}) == 3
    ledger.advance(third.op_id, State.STAGED, {})
    assert ledger.commit(third.op_id, 3).version == 2
    assert ledger.verify() == []


def test_a_rollback_whose_head_moved_is_a_lost_race(ledger: Ledger) -> None:
    release(ledger, 1)
    release(ledger, 2)
    op = ledger.open_rollback(MODEL, ledger.good_versions(MODEL)[0], actor="ann", reason=REASON)
    ledger.advance(op.op_id, State.STAGED, {})
    release(ledger, 3)
    with pytest.raises(LostRace):
        ledger.commit(op.op_id, 2)
    assert ledger.is_quarantined(MODEL, f"{2:064x}") is None


def test_rollbacks_that_have_no_way(ledger: Ledger) -> None:
    with pytest.raises(SpecError, match="no release"):
        ledger.open_rollback(MODEL, make_candidate(1, 1), actor="ann", reason=REASON)
    release(ledger, 1)
    with pytest.raises(PolicyRefused, match="served already"):
        ledger.open_rollback(MODEL, make_candidate(1, 1), actor="ann", reason=REASON)
    release(ledger, 2)
    with pytest.raises(PolicyRefused, match="never served") as refused:
        ledger.open_rollback(MODEL, make_candidate(7, 7), actor="ann", reason=REASON)
    assert refused.value.remedy.endswith(": 1.")
    op = ledger.open_rollback(MODEL, make_candidate(1, 1), actor="ann", reason=REASON)
    with pytest.raises(PolicyRefused, match="REQUESTED"):
        ledger.commit(op.op_id, 2)


def test_an_adoption_keeps_the_higher_order_key_and_bars_nobody(ledger: Ledger) -> None:
    for version in (1, 2):
        release(ledger, version)
    op = ledger.open_adoption(MODEL, make_candidate(1, 1), actor="ann", reason=REASON)
    ledger.advance(op.op_id, State.STAGED, {})
    ledger.set_frozen(MODEL, True, actor="ann", reason=REASON)
    with pytest.raises(PolicyRefused, match="frozen"):
        ledger.commit(op.op_id, 2)
    ledger.set_frozen(MODEL, False, actor="ann", reason=REASON)
    head = ledger.commit(op.op_id, 2)
    assert (head.version, head.order_key.sequence) == (1, 2)
    assert ledger.is_quarantined(MODEL, f"{2:064x}") is None
    newer = ledger.open_adoption(MODEL, make_candidate(9, 9), actor="ann", reason=REASON)
    ledger.advance(newer.op_id, State.STAGED, {})
    assert ledger.commit(newer.op_id, 3).order_key.sequence == 9
    ledger.quarantine(MODEL, f"{5:064x}", why=REASON, actor="ann")
    with pytest.raises(PolicyRefused, match="quarantined"):
        ledger.open_adoption(MODEL, make_candidate(5, 5), actor="ann", reason=REASON)
    assert ledger.verify() == []


@pytest.mark.parametrize("approved", [True, False])
def test_another_version_is_adopted_after_one_was_answered(ledger: Ledger, approved: bool) -> None:
    release(ledger, 1)
    asked = ledger.open_adoption(MODEL, make_candidate(2, 2), actor="ann", reason=REASON)
    asked = ledger.advance(asked.op_id, State.STAGED, {})
    decide(ledger, asked, approved=approved)
    other = ledger.open_adoption(MODEL, make_candidate(3, 3), actor="ann", reason=REASON)
    left = ledger.op(asked.op_id)
    assert left is not None
    assert left.state is (State.FAILED if approved else State.REJECTED)
    assert other.op_id != asked.op_id and other.state is State.REQUESTED
    assert ledger.verify() == []
