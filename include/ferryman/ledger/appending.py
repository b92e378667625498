"""Rows are only ever added: this is the one place that writes `ops`."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Connection, insert, update

from ferryman.ledger import tables
from ferryman.ledger.chain import row_hash
from ferryman.ledger.engine import lock_tip
from ferryman.ledger.queries import committed_head, read_head
from ferryman.ledger.records import Candidate, Op, OrderKey, State
from ferryman.ledger.rows import op_of_mapping, store_json

_KEEP_GOOD = 10


@dataclass(frozen=True)
class Entry:
    """A row before it is written: all that its writer decides."""

    op_id: str
    kind: str
    model: str
    state: State
    base_epoch: int
    candidate: Candidate | None
    order_key: OrderKey
    actor: str
    reason: str
    evidence: Mapping[str, JsonValue]


def append_row(connection: Connection, entry: Entry) -> dict[str, Any]:
    """Write one row at the end of the chain and move the tip to it; returns the row."""
    seq, newest = lock_tip(connection)
    row: dict[str, Any] = {
        "seq": seq + 1,
        "op_id": entry.op_id,
        "kind": entry.kind,
        "model": entry.model,
        "state": str(entry.state),
        "base_epoch": entry.base_epoch,
        "candidate": _candidate_text(entry.candidate),
        "order_key": entry.order_key.text,
        "actor": entry.actor,
        "reason": entry.reason,
        "evidence": store_json(dict(entry.evidence)),
        "at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "prev_hash": newest,
    }
    row["hash"] = row_hash(row)
    connection.execute(insert(tables.ops).values(row))
    connection.execute(update(tables.tip).values(seq=row["seq"], hash=row["hash"]))
    return row


def append_state(
    connection: Connection,
    op: Op,
    state: State,
    evidence: Mapping[str, JsonValue],
    base_epoch: int,
) -> Op:
    """Write that an operation reached a state."""
    entry = Entry(
        op_id=op.op_id,
        kind=op.kind,
        model=op.model,
        state=state,
        base_epoch=base_epoch,
        candidate=op.candidate,
        order_key=op.order_key,
        actor=op.actor,
        reason=op.reason,
        evidence=evidence,
    )
    return op_of_mapping(append_row(connection, entry))


def _candidate_text(candidate: Candidate | None) -> str:
    return store_json({} if candidate is None else candidate.model_dump(mode="json"))


def note_id(connection: Connection, kind: str) -> str:
    """The id of an act that is no release (freeze, quarantine): each one is its own operation."""
    seq, newest = lock_tip(connection)
    return hashlib.sha256(f"{kind}:{seq + 1}:{newest}".encode()).hexdigest()


def remember_good(connection: Connection, op_id: str) -> None:
    """Add the head that an operation made to the versions that really served."""
    served = committed_head(connection, op_id)
    head = read_head(connection, served.model) if served else None
    if served is None or head is None:
        return
    entry = {key: getattr(served, key) for key in ("epoch", "version", "digest", "bundle")}
    kept = [entry, *head.last_good]
    kept.sort(key=lambda good: int(good["epoch"]), reverse=True)
    connection.execute(
        update(tables.head)
        .where(tables.head.c.model == head.model)
        .values(last_good=store_json(kept[:_KEEP_GOOD]))
    )
