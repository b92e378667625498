"""The story of a model's releases, a line for each row: before and after, who and why."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ferryman.ledger.ledger_reader import LedgerReader
from ferryman.ledger.records import TRAFFIC, Note, Op, State
from ferryman.spec.windows import format_time


@dataclass(frozen=True)
class Line:
    """A row in words. `version` is None for an act that is about none."""

    seq: int
    at: datetime
    kind: str
    op_id: str
    version: int | None
    before: str
    after: str
    actor: str
    reason: str
    evidence: dict[str, Any]

    @property
    def as_json(self) -> dict[str, Any]:
        """The line with its evidence, ready for JSON."""
        return {**self.__dict__, "at": format_time(self.at)}


def account_of(ledger: LedgerReader, model: str) -> list[Line]:
    """Every transition and note of a model, oldest first."""
    records: list[Op | Note] = [*ledger.history(model), *ledger.notes(model)]
    states: dict[str, str] = {}
    lines = []
    for record in sorted(records, key=lambda record: record.seq):
        if isinstance(record, Note):
            lines.append(_of_note(record))
            continue
        lines.append(_of_op(record, states.get(record.op_id, "")))
        states[record.op_id] = str(record.state)
    return lines


def _of_op(op: Op, before: str) -> Line:
    after = str(op.state)
    if op.state is State.COMMITTED:
        before = _head(op.evidence["before"])
        after = _head(op.evidence["after"])
    version = op.candidate.version
    row = (op.seq, op.at, op.kind, op.op_id, version, before, after, op.actor, op.reason)
    return Line(*row, op.evidence)


def _of_note(note: Note) -> Line:
    told = note.evidence
    before, after = _side(told.get("before")), _side(told.get("after"))
    if note.kind == TRAFFIC:
        after = f"{told['variant']} stage {told['stage']}, weight {told['weight']:g}"
    version = told.get("version")
    row = (note.seq, note.at, note.kind, str(told.get("op", "")), version, before, after)
    return Line(*row, note.actor, note.reason, told)


def _head(head: dict[str, Any] | None) -> str:
    return f"epoch {head['epoch']}, version {head['version']}" if head else "no head"


def _side(side: Any) -> str:
    if isinstance(side, dict):
        return f"weight {side['weight']:g}" if "weight" in side else ""
    return "" if side is None else str(side).lower()
