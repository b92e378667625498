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
from ferryman.ledger.queries import committed_head, first_row, read_head
from ferryman.ledger.records import Candidate, Head, Note, Op, OrderKey, State
from ferryman.ledger.rows import note_of, op_of_mapping, store_json
from ferryman.ledger.words import Act

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
    act: Act | None = None,
) -> Op:
    """Write that an operation reached a state, at the epoch that `op` names.

    By whom and why: as it was begun, unless an act is given.
    """
    begun = first_row(connection, op.op_id) or op
    act = act or Act(begun.actor, begun.reason)
    entry = Entry(
        op_id=op.op_id,
        kind=op.kind,
        model=op.model,
        state=state,
        base_epoch=op.base_epoch,
        candidate=op.candidate,
        order_key=op.order_key,
        actor=act.actor,
        reason=act.reason,
        evidence=evidence,
    )
    return op_of_mapping(append_row(connection, entry))


def _candidate_text(candidate: Candidate | None) -> str:
    return store_json({} if candidate is None else candidate.model_dump(mode="json"))


def append_note(
    connection: Connection,
    kind: str,
    model: str,
    act: Act,
    evidence: Mapping[str, JsonValue],
) -> Note:
    """Write an act that is no release, as one finished row of its own."""
    entry = Entry(
        op_id=_note_id(connection, kind),
        kind=kind,
        model=model,
        state=State.DONE,
        base_epoch=0,
        candidate=None,
        order_key=OrderKey("", 0),
        actor=act.actor,
        reason=act.reason,
        evidence=evidence,
    )
    return note_of(append_row(connection, entry))


def _note_id(connection: Connection, kind: str) -> str:
    """The id of an act that is no release (freeze, quarantine): each one is its own operation."""
    seq, newest = lock_tip(connection)
    return hashlib.sha256(f"{kind}:{seq + 1}:{newest}".encode()).hexdigest()


def remember_good(connection: Connection, op_id: str) -> None:
    """Add the head that an operation made to the versions that really served."""
    served = committed_head(connection, op_id)
    head = read_head(connection, served.model) if served else None
    if served is None or head is None:
        return
    connection.execute(
        update(tables.head)
        .where(tables.head.c.model == head.model)
        .values(last_good=store_json(with_good(head.last_good, served)))
    )


def with_good(last_good: list[dict[str, Any]], served: Head) -> list[dict[str, Any]]:
    """The versions that really served, newest epoch first, with one more of them."""
    entry = {key: getattr(served, key) for key in ("epoch", "version", "digest", "bundle")}
    kept = [entry, *last_good]
    kept.sort(key=lambda good: int(good["epoch"]), reverse=True)
    return kept[:_KEEP_GOOD]
