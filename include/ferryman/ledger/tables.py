"""The ledger's tables, for SQLite and Postgres alike.

JSON is kept as canonical text, so that the hash chain covers the very bytes that are stored.
"""

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

metadata = MetaData()

head = Table(
    "head",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("bundle", Text, nullable=False),
    Column("order_key", String(64), nullable=False),
    Column("last_good", Text, nullable=False),
    Column("frozen", Boolean, nullable=False),
)

ops = Table(
    "ops",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("op_id", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("model", String(63), nullable=False),
    Column("state", String(16), nullable=False),
    Column("base_epoch", Integer, nullable=False),
    Column("candidate", Text, nullable=False),
    Column("order_key", String(64), nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("at", String(40), nullable=False),
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    # A state may be written again at a higher base epoch only: a lost race is gated anew.
    UniqueConstraint("op_id", "state", "base_epoch", name="ops_once"),
)
_committed = text("state = 'COMMITTED'")
Index(
    "ops_committed_once",
    ops.c.op_id,
    unique=True,
    sqlite_where=_committed,
    postgresql_where=_committed,
)
Index("ops_by_model", ops.c.model, ops.c.seq)

# The newest row of `ops`: without it, removing the last rows would leave a chain that looks whole.
tip = Table(
    "tip",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("model", String(63), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("why", Text, nullable=False),
    Column("at", String(40), nullable=False),
    PrimaryKeyConstraint("model", "digest"),
)

# Who may give a candidate its share: the one table whose rows change, and no part of the chain.
lease = Table(
    "lease",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("op_id", String(64), nullable=False),
    Column("serial", Integer, nullable=False),
    Column("holder", Text, nullable=False),
    Column("expires_at", String(40), nullable=False),
)

# What steps cost: figures beside the decisions, only ever added to, and no part of the chain.
costs = Table(
    "costs",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model", String(63), nullable=False),
    Column("run_id", Text, nullable=False),
    Column("pipeline", String(63), nullable=False),
    Column("step", String(63), nullable=False),
    Column("version", Integer, nullable=True),
    Column("outcome", String(200), nullable=False),
    Column("started", String(40), nullable=False),
    Column("seconds", Float, nullable=False),
    Column("cpu_seconds", Float, nullable=False),
    Column("peak_memory", BigInteger, nullable=False),
)
Index("costs_by_model", costs.c.model, costs.c.started)


def _append_only(table: Table) -> None:
    """Let the database itself refuse to change or remove a row."""
    name = table.name
    for verb in ("UPDATE", "DELETE"):
        event.listen(
            table,
            "after_create",
            DDL(  # type: ignore[no-untyped-call]
                f"CREATE TRIGGER {name}_no_{verb.lower()} BEFORE {verb} ON {name} "
                f"BEGIN SELECT RAISE(ABORT, '{name} is append-only'); END"
            ).execute_if(dialect="sqlite"),
        )
    event.listen(
        table,
        "after_create",
        DDL(  # type: ignore[no-untyped-call]
            f"CREATE FUNCTION {name}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{name} is append-only'; END $$; "
            f"CREATE TRIGGER {name}_append_only BEFORE UPDATE OR DELETE ON {name} "
            f"FOR EACH ROW EXECUTE FUNCTION {name}_append_only()"
        ).execute_if(dialect="postgresql"),
    )


for _table in (ops, costs):
    _append_only(_table)
