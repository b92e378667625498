"""Checks the whole ledger against itself: the chain of rows, and the heads that follow from it."""

from typing import Any

from sqlalchemy import Connection, select

from ferryman.ledger import tables
from ferryman.ledger.chain import broken_links
from ferryman.ledger.engine import lock_tip
from ferryman.ledger.records import FREEZE, NOTES, QUARANTINE, State
from ferryman.ledger.rows import head_json, head_of, note_of, op_of_mapping


def problems(connection: Connection) -> list[str]:
    """Every disagreement, in words; empty when the ledger is as it was written."""
    query = select(tables.ops).order_by(tables.ops.c.seq)
    rows: list[dict[str, Any]] = [dict(row._mapping) for row in connection.execute(query)]
    found = broken_links(rows, lock_tip(connection))
    if found:
        return found  # rows that were changed cannot be read as evidence
    return _head_problems(connection, rows) + _quarantine_problems(connection, rows)


def _head_problems(connection: Connection, rows: list[dict[str, Any]]) -> list[str]:
    expected: dict[str, dict[str, Any]] = {}
    good: dict[str, set[str]] = {}
    for row in rows:
        if row["kind"] in NOTES:
            note = note_of(row)
            if note.kind != QUARANTINE:
                expected[note.model]["frozen"] = note.kind == FREEZE
            continue
        op = op_of_mapping(row)
        if op.state is State.COMMITTED:
            expected[op.model] = dict(op.evidence["after"])
        elif op.state is State.DONE:
            good.setdefault(op.model, set()).add(op.candidate.digest)
    heads = {row.model: head_of(row) for row in connection.execute(select(tables.head))}
    found = []
    for model in sorted(expected.keys() | heads.keys()):
        head = heads.get(model)
        if head_json(head) != expected.get(model):
            found.append(f"the head of {model} is not what its last commit made it")
        elif head and not {entry["digest"] for entry in head.last_good} <= good.get(model, set()):
            found.append(f"last_good of {model} names a version that never served")
    return found


def _quarantine_problems(connection: Connection, rows: list[dict[str, Any]]) -> list[str]:
    ordered = {
        (row["model"], str(note_of(row).evidence["digest"]), row["reason"])
        for row in rows
        if row["kind"] == QUARANTINE
    }
    table = tables.quarantine
    kept = {
        (row.model, row.digest, row.why)
        for row in connection.execute(select(table.c.model, table.c.digest, table.c.why))
    }
    return [
        f"the quarantine of {model} {digest[:12]} differs from what was ordered"
        for model, digest, _ in sorted(ordered ^ kept)
    ]
