"""Questions to the ledger's tables, inside a transaction."""

from sqlalchemy import Connection, select

from ferryman.errors import SpecError
from ferryman.ledger import tables
from ferryman.ledger.records import NOTES, Head, Note, Op, State
from ferryman.ledger.rows import head_of, head_values, note_of, op_of


def read_head(connection: Connection, model: str) -> Head | None:
    """A model's head; None before its first release."""
    row = connection.execute(select(tables.head).where(tables.head.c.model == model)).first()
    return None if row is None else head_of(row)


def newest_row(connection: Connection, op_id: str) -> Op | None:
    """The newest state of an operation; None when there is no such operation."""
    query = select(tables.ops).where(tables.ops.c.op_id == op_id)
    row = connection.execute(query.order_by(tables.ops.c.seq.desc()).limit(1)).first()
    return None if row is None else op_of(row)


def first_row(connection: Connection, op_id: str) -> Op | None:
    """How an operation was begun: by whom, and why; None when there is no such operation."""
    query = select(tables.ops).where(tables.ops.c.op_id == op_id)
    row = connection.execute(query.order_by(tables.ops.c.seq).limit(1)).first()
    return None if row is None else op_of(row)


def row_in(connection: Connection, op_id: str, state: State, base_epoch: int) -> Op | None:
    """The row by which an operation reached a state at an epoch; None when it never did."""
    query = select(tables.ops).where(
        tables.ops.c.op_id == op_id,
        tables.ops.c.state == state,
        tables.ops.c.base_epoch == base_epoch,
    )
    row = connection.execute(query).first()
    return None if row is None else op_of(row)


def require_op(connection: Connection, op_id: str) -> Op:
    """The newest state of an operation; SpecError (exit 2) when there is no such operation."""
    op = newest_row(connection, op_id)
    if op is None:
        raise SpecError(f"the ledger knows no operation {op_id[:64]!r}", remedy="Run `gate` first.")
    return op


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


def history_of(connection: Connection, model: str) -> list[Op]:
    """Every transition of a model's operations, oldest first."""
    query = select(tables.ops).where(tables.ops.c.model == model, tables.ops.c.kind.not_in(NOTES))
    return [op_of(row) for row in connection.execute(query.order_by(tables.ops.c.seq))]


def notes_of(connection: Connection, model: str, *kinds: str) -> list[Note]:
    """A model's notes of the given kinds (of all, where none is given), oldest first."""
    query = select(tables.ops).where(
        tables.ops.c.model == model, tables.ops.c.kind.in_(kinds or NOTES)
    )
    rows = connection.execute(query.order_by(tables.ops.c.seq))
    return [note_of(dict(row._mapping)) for row in rows if row.kind in NOTES]
