"""Whether a row may stand where it stands: the rules by which rows are written, for the audit."""

from collections.abc import Callable
from typing import Any

from ferryman.errors import FerrymanError
from ferryman.ledger.records import (
    ADOPT,
    DRILL,
    FREEZE,
    PROMOTE,
    ROLLBACK,
    TRAFFIC,
    UNFREEZE,
    Head,
    Note,
    Op,
    State,
    operation_id,
)
from ferryman.ledger.replay import Replay, share_of
from ferryman.ledger.rows import head_json
from ferryman.ledger.transitions import (
    ASKING,
    EXPOSED,
    FIRST,
    NOT_ASKED,
    READY,
    check_not_final,
    check_step,
    check_way,
    required,
)
from ferryman.ledger.words import check_other_person


def unlawful(replay: Replay, record: Op | Note) -> str | None:
    """Why a row could not have been written after those before it; None when it could.

    Raises KeyError, TypeError or ValueError where its evidence is not what its kind has.
    """
    if isinstance(record, Note):
        return _unlawful_note(replay, record)
    before = replay.newest.get(record.op_id)
    if before is None:
        return _unlawful_first(replay, record)
    return _unlawful_next(replay, before, record)


def _unlawful_next(replay: Replay, before: Op, record: Op) -> str | None:
    said = (before.kind, before.candidate, before.order_key)
    if said != (record.kind, record.candidate, record.order_key):
        return "its kind or candidate is not that of its operation"
    if record.state is State.COMMITTED:
        return _unlawful_commit(replay, before, record)
    answered = record.state is State.APPROVED or (
        record.state is State.REJECTED and before.state is State.STAGED
    )
    if answered and record.base_epoch == before.base_epoch:
        return _unlawful_answer(replay, before, record)
    return _unlawful_step(replay, before, record)


def _unlawful_first(replay: Replay, op: Op) -> str | None:
    if op.state is not FIRST[op.kind]:
        return f"an operation of kind {op.kind} begins as {FIRST[op.kind]}, not as {op.state}"
    if op.kind in (PROMOTE, DRILL):
        named = operation_id(op.kind, op.model, op.candidate.digest, op.candidate.order_key)
        if op.op_id != named:
            return "its id is not that of its candidate"
    if op.base_epoch != (0 if op.kind == PROMOTE else _epoch(replay.head)):
        return f"it begins at epoch {op.base_epoch}; the head's was {_epoch(replay.head)}"
    return None


def _unlawful_step(replay: Replay, before: Op, op: Op) -> str | None:
    epoch = before.base_epoch if op.state is State.SUPERSEDED else op.base_epoch
    gated = replay.reached.get((op.op_id, State.GATED, epoch))

    def check() -> None:
        check_not_final(before, op.state, epoch)
        check_step(before, op.state, epoch)
        if op.state is State.EXPOSED:
            check_way(before, gated)

    told = _told(check)
    if told is None and op.state is State.EXPOSED and epoch != _epoch(replay.head):
        return f"it was exposed at epoch {epoch}; the head's was {_epoch(replay.head)}"
    return told


def _unlawful_answer(replay: Replay, before: Op, op: Op) -> str | None:
    told = op.evidence
    if op.kind not in (PROMOTE, ADOPT) or before.state is not State.STAGED:
        return f"{op.state} was answered to an operation that was {before.state}"
    if told["approved"] is not (op.state is State.APPROVED):
        return f"the answer and {op.state} differ"
    if (told["digest"], told["epoch"]) != (op.candidate.digest, op.base_epoch):
        return "the answer is to another digest or epoch"
    if op.state is State.REJECTED:
        return None
    first = 0 if op.kind == PROMOTE else op.base_epoch
    begun = replay.reached[(op.op_id, FIRST[op.kind], first)]
    return _told(lambda: check_other_person(op.actor, str(told["requester"]), begun.actor))


def _unlawful_commit(replay: Replay, before: Op, op: Op) -> str | None:
    head, epoch = replay.head, op.base_epoch
    frozen = head is not None and head.frozen
    if before.kind == DRILL or before.state not in READY or before.base_epoch != epoch:
        return f"a {before.kind} that was {before.state} was committed"
    for state in sorted(_asked_of(replay, op)):
        if (op.op_id, state, epoch) not in replay.reached:
            return f"it was committed without {state}, which its gate requires"
    wrong = {
        "its digest was quarantined": op.candidate.digest in replay.barred,
        "it was committed while the model was frozen": frozen and op.kind != ROLLBACK,
        "its order key may not follow that of the head before it": not _keeps_order(head, op),
        "the head that it says it left is another": op.evidence["before"] != head_json(head),
        "the head that it says it made is another": (op.evidence["after"], epoch)
        != (_expected(op, frozen), _epoch(head)),
    }
    return next((text for text, is_so in wrong.items() if is_so), None)


def _asked_of(replay: Replay, op: Op) -> frozenset[State]:
    """What an operation must have been through, as it was written when that was decided."""
    if op.kind not in ASKING:
        return frozenset()
    return (
        required(replay.reached.get((op.op_id, ASKING[op.kind], op.base_epoch)))
        - NOT_ASKED[op.kind]
    )


def _keeps_order(head: Head | None, op: Op) -> bool:
    if head is None:
        return op.kind in (PROMOTE, ADOPT)
    if op.kind == PROMOTE:
        return op.order_key > head.order_key
    if op.kind == ROLLBACK:
        return op.order_key == head.order_key
    return op.order_key == max(head.order_key, op.candidate.order_key)


def _expected(op: Op, frozen: bool) -> dict[str, Any]:
    return {
        **op.candidate.model_dump(include={"version", "digest", "bundle"}),
        "model": op.model,
        "epoch": op.base_epoch + 1,
        "order_key": op.order_key.text,
        "frozen": frozen,
    }


def _unlawful_note(replay: Replay, note: Note) -> str | None:
    if note.kind in (FREEZE, UNFREEZE):
        frozen = replay.head.frozen if replay.head else None
        if frozen is not (note.kind == UNFREEZE):
            return f"a model that was {'frozen' if frozen else 'not frozen'} had an {note.kind}"
    if note.kind == TRAFFIC:
        return _unlawful_share(replay, note)
    return None


def _unlawful_share(replay: Replay, note: Note) -> str | None:
    share = share_of(note)
    op = replay.newest.get(share.op_id)
    if op is None or (op.candidate.digest, op.candidate.version) != (share.digest, share.version):
        return "its share is of no operation with that candidate"
    if share.weight == 0:
        return None
    if op.state not in EXPOSED or share.digest in replay.barred:
        return f"a candidate that was {op.state} or quarantined had a share"
    head = replay.head
    if head is None or head.frozen or head.epoch != op.base_epoch:
        return "a share was given beside another head than the candidate was judged against"
    return None


def _told(check: Callable[[], None]) -> str | None:
    try:
        check()
    except FerrymanError as error:
        return error.text
    return None


def _epoch(head: Head | None) -> int:
    return head.epoch if head else 0
