"""What a model's page tells of its releases, read from the ledger alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ferryman.errors import FerrymanError
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import STAGE, TRAFFIC, Candidate, Head, Note, Op, Routing, State
from ferryman.settings import Settings

MOST_GOOD, MOST_ROWS, MOST_FINDINGS = 10, 20, 8
_WORDS = 400  # characters of any one text


@dataclass(frozen=True)
class Champion:
    """What serves, since when, and who let it."""

    version: int
    epoch: int
    since: datetime
    actor: str
    reason: str
    approved_by: str
    cutoff: str
    frozen: bool


@dataclass(frozen=True)
class Row:
    """One row of the ledger, in words."""

    seq: int
    at: datetime
    what: str
    version: str
    actor: str
    text: str


@dataclass(frozen=True)
class ReleaseFacts:
    """What a page shows of releases; `trouble` says why something of it is missing.

    `share` is who else answers now; `waiting` the versions that wait for an approver; `findings`
    what was found of the newest exposure, newest first; `good` what a rollback may choose.
    """

    champion: Champion | None = None
    share: Routing | None = None
    waiting: list[int] = field(default_factory=list)
    findings: list[Row] = field(default_factory=list)
    good: list[Candidate] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    trouble: str = ""


def release_facts(settings: Settings, model: str) -> ReleaseFacts:
    """The champion, the candidate beside it, and the newest rows of a model's ledger."""
    try:
        ledger = Ledger(settings.ledger_url)
        head, history = ledger.head(model), ledger.history(model)
        notes = ledger.notes(model)
        routing = ledger.routing(model)
        good = ledger.good_versions(model) if head else []
    except FerrymanError as error:
        return ReleaseFacts(trouble=error.text[:500])
    told = [_row_of_note(note, history) for note in notes]
    rows = sorted([*map(_row_of_op, history), *told], key=lambda row: row.seq)
    return ReleaseFacts(
        champion=_champion(head, history) if head else None,
        share=routing if routing.weight else None,
        waiting=_waiting(head, history),
        findings=_findings(history, notes),
        good=good[:MOST_GOOD],
        rows=rows[: -MOST_ROWS - 1 : -1],
    )


def _champion(head: Head, history: Sequence[Op]) -> Champion | None:
    commit = next(
        (
            op
            for op in reversed(history)
            if op.state is State.COMMITTED and op.evidence["after"]["epoch"] == head.epoch
        ),
        None,
    )
    if commit is None:
        return None
    approved = [op.actor for op in _rows_of(history, commit) if op.state is State.APPROVED]
    return Champion(
        version=head.version,
        epoch=head.epoch,
        since=commit.at,
        actor=commit.actor,
        reason=commit.reason[:_WORDS],
        approved_by=approved[-1] if approved else "",
        cutoff=head.order_key.cutoff,
        frozen=head.frozen,
    )


def _waiting(head: Head | None, history: Sequence[Op]) -> list[int]:
    """Versions that are staged against the epoch of today and may not go on without an answer."""
    epoch = head.epoch if head else 0
    newest = {op.op_id: op for op in history}
    return [
        op.candidate.version
        for op in newest.values()
        if op.state is State.STAGED
        and op.base_epoch == epoch
        and any(_asks(row) for row in _rows_of(history, op))
    ]


def _asks(row: Op) -> bool:
    required = row.evidence.get("requires") if row.state is State.GATED else None
    return isinstance(required, Mapping) and bool(required.get("approval"))


def _rows_of(history: Sequence[Op], op: Op) -> list[Op]:
    return [row for row in history if (row.op_id, row.base_epoch) == (op.op_id, op.base_epoch)]


def _findings(history: Sequence[Op], notes: Sequence[Note]) -> list[Row]:
    """What the stages of the newest exposure said, and how it ended."""
    exposed = [op for op in history if op.state is State.EXPOSED]
    if not exposed:
        return []
    newest = exposed[-1]
    told = [
        _row_of_note(note, history)
        for note in notes
        if note.kind in (STAGE, TRAFFIC) and note.evidence.get("op") == newest.op_id
    ]
    ended = [_row_of_op(op) for op in _rows_of(history, newest) if op.state is State.ABORTED]
    return sorted([*told, *ended], key=lambda row: row.seq)[: -MOST_FINDINGS - 1 : -1]


def _row_of_op(op: Op) -> Row:
    said = op.evidence.get("text")
    return Row(
        seq=op.seq,
        at=op.at,
        what=f"{op.kind}: {op.state}",
        version=str(op.candidate.version),
        actor=op.actor,
        text=_text(op.reason, said),
    )


def _row_of_note(note: Note, history: Sequence[Op]) -> Row:
    weight = note.evidence.get("weight")
    share = f": {weight * 100:.4g} % of the requests" if isinstance(weight, int | float) else ""
    return Row(
        seq=note.seq,
        at=note.at,
        what=f"{note.kind}{share}",
        version=_version_of(note, history),
        actor=note.actor,
        text=_text(note.reason, note.evidence.get("text")),
    )


def _version_of(note: Note, history: Sequence[Op]) -> str:
    """The version that a note is about: as it says, or that of its digest, or of its operation."""
    evidence = note.evidence
    if evidence.get("version") is not None:
        return str(evidence["version"])
    digest, op_id = evidence.get("digest"), evidence.get("op")
    of_digest = [op for op in history if op.candidate.digest == digest]
    found = of_digest or [op for op in history if op.op_id == op_id and digest is None]
    return str(found[0].candidate.version) if found else ""


def _text(reason: str, said: Any) -> str:
    words = f"{reason}: {said}" if isinstance(said, str) and said not in reason else reason
    return words[:_WORDS]
