"""The decision of a commit: may this operation's candidate be head, and if not, why not."""

from sqlalchemy import Connection, exists, insert, select, update

from ferryman.errors import FerrymanError, LostRace, PolicyRefused, Superseded
from ferryman.ledger import tables
from ferryman.ledger.queries import quarantine_reason, read_head
from ferryman.ledger.records import JUDGED_AGAIN, NEXT, VERDICTS, Head, Op, State


def check_step(op: Op, state: State, base_epoch: int) -> None:
    """Raise LostRace (exit 8) or PolicyRefused (exit 9) where a state may not follow."""
    if state in VERDICTS and base_epoch > op.base_epoch and op.state in JUDGED_AGAIN:
        return
    if base_epoch != op.base_epoch and state not in VERDICTS:
        raise LostRace(
            f"operation {op.op_id[:12]} was judged against epoch {op.base_epoch}, not {base_epoch}"
        )
    if state not in NEXT[op.state]:
        raise PolicyRefused(
            f"operation {op.op_id[:12]} is {op.state}: {state} cannot follow",
            remedy="Run the steps in order: gate, stage, commit, reconcile.",
        )


def check_ready(op: Op, head: Head | None, base_epoch: int) -> None:
    """Commit needs a passed gate in the ledger itself, whatever a passed file claims."""
    if op.state is State.SUPERSEDED or (head is not None and head.order_key >= op.order_key):
        return  # told by `_why_not`, which says by whom
    if op.state is not State.STAGED:
        raise PolicyRefused(
            f"operation {op.op_id[:12]} is {op.state}: only a gated and staged one is committed",
            remedy="Run gate and stage for this candidate.",
        )
    if op.base_epoch != base_epoch:
        raise LostRace(
            f"operation {op.op_id[:12]} was judged against epoch {op.base_epoch}, not {base_epoch}"
        )


def move_head(connection: Connection, op: Op, base_epoch: int) -> Head | None:
    """Make the candidate head where every condition holds; None, with nothing changed, if not."""
    values = {
        **op.candidate.model_dump(include={"version", "digest", "bundle"}),
        "epoch": base_epoch + 1,
        "order_key": op.order_key.text,
    }
    barred = exists().where(
        tables.quarantine.c.model == op.model,
        tables.quarantine.c.digest == op.candidate.digest,
    )
    if op.state is not State.STAGED or connection.execute(select(barred)).scalar_one():
        return None
    if base_epoch == 0 and read_head(connection, op.model) is None:
        row = {**values, "model": op.model, "last_good": "[]", "frozen": False}
        connection.execute(insert(tables.head).values(row))
        return read_head(connection, op.model)
    moved = connection.execute(
        update(tables.head)
        .where(
            tables.head.c.model == op.model,
            tables.head.c.epoch == base_epoch,
            tables.head.c.order_key < op.order_key.text,
            tables.head.c.frozen.is_(False),
        )
        .values(values)
    )
    return read_head(connection, op.model) if moved.rowcount == 1 else None


def why_not(connection: Connection, op: Op, base_epoch: int) -> FerrymanError:
    """The reason why `move_head` changed nothing, as the error to raise."""
    head = read_head(connection, op.model)
    why = quarantine_reason(connection, op.model, op.candidate.digest)
    if why is not None:
        return PolicyRefused(f"{op.model} version {op.candidate.version} is quarantined: {why}")
    if head is None:
        return LostRace(f"{op.model} has no head, but the gate saw epoch {base_epoch}")
    if head.order_key >= op.order_key:
        return Superseded(
            f"{op.model} version {head.version} (epoch {head.epoch}, cut-off "
            f"{head.order_key.cutoff}) is as new as version {op.candidate.version} "
            f"(cut-off {op.order_key.cutoff})"
        )
    if head.frozen:
        return PolicyRefused(f"{op.model} is frozen at epoch {head.epoch}: no version may follow")
    return LostRace(f"{op.model} is at epoch {head.epoch}; the gate saw epoch {base_epoch}")
