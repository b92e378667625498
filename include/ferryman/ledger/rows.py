"""Between table rows and records."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from ferryman.ledger.records import NOTES, Candidate, Head, Note, Op, OrderKey, State
from ferryman.runtime.messages import canonical_json


def store_json(value: Any) -> str:
    """Canonical JSON text; NaN is a ValueError."""
    return canonical_json(value).decode()


def op_of_mapping(row: Mapping[Any, Any]) -> Op:
    """A row of `ops` as a record."""
    return Op(
        seq=row["seq"],
        op_id=row["op_id"],
        kind=row["kind"],
        model=row["model"],
        state=State(row["state"]),
        base_epoch=row["base_epoch"],
        candidate=Candidate.model_validate_json(row["candidate"]),
        order_key=OrderKey.parse(row["order_key"]),
        actor=row["actor"],
        reason=row["reason"],
        evidence=json.loads(row["evidence"]),
        at=datetime.fromisoformat(row["at"]),
    )


def note_of(row: Mapping[Any, Any]) -> Note:
    """A row of `ops` that is no release, as a record."""
    return Note(
        seq=row["seq"],
        kind=row["kind"],
        model=row["model"],
        actor=row["actor"],
        reason=row["reason"],
        evidence=json.loads(row["evidence"]),
        at=datetime.fromisoformat(row["at"]),
    )


def record_of(row: Mapping[Any, Any]) -> Op | Note:
    """A row of `ops` as what it is: a transition, or a note."""
    return note_of(row) if row["kind"] in NOTES else op_of_mapping(row)


def op_of(row: Row[Any]) -> Op:
    """A selected row of `ops` as a record."""
    return op_of_mapping(dict(row._mapping))


def head_of(row: Row[Any]) -> Head:
    """A selected row of `head` as a record."""
    values = dict(row._mapping)
    values["last_good"] = json.loads(values["last_good"])
    values["order_key"] = OrderKey.parse(values["order_key"])
    return Head(**values)


def head_json(head: Head | None) -> dict[str, Any] | None:
    """What a decision records of a head: all but `last_good`, which grows."""
    if head is None:
        return None
    values = head._asdict()
    del values["last_good"]
    return {**values, "order_key": head.order_key.text}


def head_values(recorded: Mapping[str, Any]) -> Head:
    """A head as `head_json` recorded it."""
    order_key = OrderKey.parse(recorded["order_key"])
    return Head(**{**recorded, "order_key": order_key, "last_good": []})
