"""Questions to the ledger's tables, inside a transaction."""

from sqlalchemy import Connection, select

from ferryman.errors import SpecError
from ferryman.ledger import tables
from ferryman.ledger.records import Head, Op, State
from ferryman.ledger.rows import head_of, head_values, op_of


def read_head(connection: Connection, model: str) -> Head | None:
    """A model's head; None before its first release."""
    row = connection.execute(select(tables.head).where(tables.head.c.model == model)).first()
    return None if row is None else head_of(row)


def newest_row(connection: Connection, op_id: str) -> Op | None:
    """The newest state of an operation; None when there is no such operation."""
    query = select(tables.ops).where(tables.ops.c.op_id == op_id)
    row = connection.execute(query.order_by(tables.ops.c.seq.desc()).limit(1)).first()
    return None if row is None else op_of(row)


def require_op(connection: Connection, op_id: str) -> Op:
    """The newest state of an operation; SpecError (exit 2) when there is no such operation."""
    op = newest_row(connection, op_id)
    if op is None:
        raise SpecError(f"the ledger knows no operation {op_id[:64]!r}", remedy="Run `gate` first.")
    return op


def was_in(connection: Connection, op_id: str, state: State, base_epoch: int) -> bool:
    """Whether an operation ever was in a state at an epoch."""
    query = select(tables.ops.c.seq).where(
        tables.ops.c.op_id == op_id,
        tables.ops.c.state == state,
        tables.ops.c.base_epoch == base_epoch,
    )
    return connection.execute(query).first() is not None


def committed_head(connection: Connection, op_id: str) -> Head | None:
    """The head as an operation made it; None when it never committed."""
    query = select(tables.ops).where(
        tables.ops.c.op_id == op_id, tables.ops.c.state == State.COMMITTED
    )
    row = connection.execute(query).first()
    return None if row is None else head_values(op_of(row).evidence["after"])


def quarantine_reason(connection: Connection, model: str, digest: str) -> str | None:
    """Why a digest is barred; None when it is not."""
    table = tables.quarantine
    query = select(table.c.why).where(table.c.model == model, table.c.digest == digest)
    return connection.execute(query).scalar_one_or_none()
