"""The decision of a commit: may this operation's candidate be head, and if not, why not."""

from sqlalchemy import Connection, exists, insert, select, update

from ferryman.errors import FerrymanError, LostRace, PolicyRefused, Superseded
from ferryman.ledger import tables
from ferryman.ledger.appending import append_state
from ferryman.ledger.notes import bar
from ferryman.ledger.queries import (
    committed_head,
    quarantine_reason,
    read_head,
    require_op,
    row_in,
)
from ferryman.ledger.records import ADOPT, DRILL, PROMOTE, ROLLBACK, Head, Op, State
from ferryman.ledger.rows import head_json
from ferryman.ledger.transitions import ASKING, EXPOSED, NOT_ASKED, READY, following, required
from ferryman.ledger.words import Act


def commit(connection: Connection, op_id: str, base_epoch: int) -> Head | FerrymanError:
    """Make the candidate head and record it; or the refusal, which may be recorded as well."""
    op = require_op(connection, op_id)
    done = committed_head(connection, op_id)
    if done is not None:
        return done
    before = read_head(connection, op.model)
    _check_ready(connection, op, before, base_epoch)
    after = _move_head(connection, op, base_epoch)
    if after is not None:
        evidence = {"before": head_json(before), "after": head_json(after)}
        append_state(connection, op, State.COMMITTED, evidence)
        if op.kind == ROLLBACK and before is not None:
            bar(connection, op.model, before.digest, Act(op.actor, op.reason), op_id)
        return after
    refusal = _why_not(connection, op, base_epoch)
    if isinstance(refusal, Superseded) and State.SUPERSEDED in following(op):
        append_state(connection, op, State.SUPERSEDED, {"by": head_json(before)})
    return refusal


def _check_ready(connection: Connection, op: Op, head: Head | None, base_epoch: int) -> None:
    """Commit needs its way in the ledger itself, whatever a passed file claims."""
    if op.kind == DRILL:
        raise PolicyRefused(f"operation {op.op_id[:12]} is a drill: it is never committed")
    if op.state is State.SUPERSEDED or _is_older(op, head):
        return  # told by `_why_not`, which says by whom
    epoch = head.epoch if head else 0
    if op.base_epoch != base_epoch or (op.state in READY | EXPOSED and epoch != base_epoch):
        seen = f"operation {op.op_id[:12]} was judged against epoch {op.base_epoch}"
        raise LostRace(f"{seen}; {op.model} is at epoch {epoch}, asked for was {base_epoch}")
    if op.state not in READY:
        raise PolicyRefused(
            f"operation {op.op_id[:12]} is {op.state}: only a gated and staged one is committed",
            remedy="Run gate and stage for this candidate.",
        )
    for state in sorted(missing_states(connection, op)):
        raise PolicyRefused(
            f"operation {op.op_id[:12]} was never {state} at epoch {base_epoch}: its gate asks for "
            "it",
            remedy="Run the steps between stage and commit; `ferryman ledger show` tells how far "
            "it has come.",
        )


def missing_states(connection: Connection, op: Op) -> frozenset[State]:
    """What the gate requires of a promotion at its epoch, and never was."""
    if op.kind not in (PROMOTE, ADOPT):
        return frozenset()
    wanted = required(row_in(connection, op.op_id, ASKING[op.kind], op.base_epoch))
    return frozenset(
        state
        for state in wanted - NOT_ASKED[op.kind]
        if row_in(connection, op.op_id, state, op.base_epoch) is None
    )


def _is_older(op: Op, head: Head | None) -> bool:
    return op.kind == PROMOTE and head is not None and head.order_key >= op.order_key


def _move_head(connection: Connection, op: Op, base_epoch: int) -> Head | None:
    """Make the candidate head where every condition holds; None, with nothing changed, if not."""
    table = tables.head
    values = {
        **op.candidate.model_dump(include={"version", "digest", "bundle"}),
        "epoch": base_epoch + 1,
        "order_key": op.order_key.text,
    }
    barred = exists().where(
        tables.quarantine.c.model == op.model,
        tables.quarantine.c.digest == op.candidate.digest,
    )
    if op.state not in READY or connection.execute(select(barred)).scalar_one():
        return None
    if base_epoch == 0 and read_head(connection, op.model) is None:
        row = {**values, "model": op.model, "last_good": "[]", "frozen": False}
        connection.execute(insert(table).values(row))
        return read_head(connection, op.model)
    key = op.order_key.text
    conditions = [table.c.model == op.model, table.c.epoch == base_epoch]
    # A rollback must be possible in the very incident that a model was frozen for.
    conditions += [] if op.kind == ROLLBACK else [table.c.frozen.is_(False)]
    conditions += [table.c.order_key < key if op.kind == PROMOTE else table.c.order_key <= key]
    moved = connection.execute(update(table).where(*conditions).values(values))
    return read_head(connection, op.model) if moved.rowcount == 1 else None


def _why_not(connection: Connection, op: Op, base_epoch: int) -> FerrymanError:
    """The reason why `_move_head` changed nothing, as the error to raise."""
    head = read_head(connection, op.model)
    why = quarantine_reason(connection, op.model, op.candidate.digest)
    if why is not None:
        return PolicyRefused(f"{op.model} version {op.candidate.version} is quarantined: {why}")
    if head is None:
        return LostRace(f"{op.model} has no head, but the gate saw epoch {base_epoch}")
    if _is_older(op, head):
        return Superseded(
            f"{op.model} version {head.version} (epoch {head.epoch}, cut-off "
            f"{head.order_key.cutoff}) is as new as version {op.candidate.version} "
            f"(cut-off {op.order_key.cutoff})"
        )
    if head.frozen and op.kind != ROLLBACK:
        return PolicyRefused(f"{op.model} is frozen at epoch {head.epoch}: no version may follow")
    return LostRace(f"{op.model} is at epoch {head.epoch}; the gate saw epoch {base_epoch}")
