"""What the rows of a model add up to: who is head, who has a share, who served, who is barred.

One way through the rows answers for today, for any moment before, and for the audit.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from ferryman.ledger import tables
from ferryman.ledger.appending import with_good
from ferryman.ledger.records import (
    DRILL,
    FREEZE,
    HOLD,
    QUARANTINE,
    TRAFFIC,
    UNFREEZE,
    UNHOLD,
    Candidate,
    Head,
    Note,
    Op,
    State,
)
from ferryman.ledger.rows import head_values, record_of
from ferryman.ledger.transitions import ENDED

_NO_SHARE = ENDED | {State.GATED}


@dataclass(frozen=True)
class Share:
    """A candidate's share, as the note that gave it says."""

    note: Note
    op_id: str
    serial: int
    stage: int
    variant: str
    version: int
    digest: str
    weight: float

    @property
    def lease_until(self) -> datetime:
        """Until when it stood unless the lease was renewed."""
        return self.note.at + timedelta(seconds=float(self.note.evidence["lease_seconds"]))


@dataclass
class Replay:
    """The state of one model after some of its rows.

    `newest` holds every operation as it stands, `reached` every transition by operation, state and
    base epoch, `commits` the rows that made a head, by operation;
    `served` those of them that were served everywhere (DONE).
    """

    head: Head | None = None
    share: Share | None = None
    since: datetime | None = None
    newest: dict[str, Op] = field(default_factory=dict)
    reached: dict[tuple[str, State, int], Op] = field(default_factory=dict)
    commits: dict[str, Op] = field(default_factory=dict)
    served: list[Op] = field(default_factory=list)
    barred: dict[str, Note] = field(default_factory=dict)
    held: dict[int, Note] = field(default_factory=dict)

    def follow(self, record: Op | Note) -> None:
        """Take in the next row."""
        if isinstance(record, Note):
            self._follow_note(record)
        else:
            self._follow_op(record)

    def _follow_op(self, op: Op) -> None:
        self.newest[op.op_id] = op
        self.reached[op.op_id, op.state, op.base_epoch] = op
        if op.state is State.COMMITTED:
            self.commits[op.op_id] = op
            last_good = self.head.last_good if self.head else []
            self.head = head_values(op.evidence["after"])._replace(last_good=last_good)
            self._give(None, op.at)
        elif op.state is State.DONE and self.head is not None:
            commit = self.commits[op.op_id]
            self.served.append(commit)
            made = head_values(commit.evidence["after"])
            self.head = self.head._replace(last_good=with_good(self.head.last_good, made))
        elif self.share is not None and self.share.op_id == op.op_id and op.state in _NO_SHARE:
            self._give(None, op.at)

    def _follow_note(self, note: Note) -> None:
        if note.kind in (FREEZE, UNFREEZE) and self.head is not None:
            self.head = self.head._replace(frozen=note.kind == FREEZE)
        elif note.kind == QUARANTINE:
            self.barred.setdefault(str(note.evidence["digest"]), note)
        elif note.kind == HOLD:
            self.held[int(note.evidence["version"])] = note
        elif note.kind == UNHOLD:
            self.held.pop(int(note.evidence["version"]), None)
        elif note.kind == TRAFFIC:
            self._follow_traffic(note)

    def _follow_traffic(self, note: Note) -> None:
        share = share_of(note)
        if share.weight > 0:
            same = self.share is not None and _routes_alike(self.share, share)
            self._give(share, self.since if same and self.since else note.at)
        elif self.share is not None and self.share.op_id == share.op_id:
            self._give(None, note.at)

    def _give(self, share: Share | None, at: datetime) -> None:
        self.share, self.since = share, at

    @property
    def good(self) -> list[Candidate]:
        """The versions that really served, newest epoch first, without head and quarantined."""
        found: dict[str, Candidate] = {}
        for commit in sorted(self.served, key=_epoch_made, reverse=True):
            found.setdefault(commit.candidate.digest, commit.candidate)
        serving = self.head.digest if self.head else ""
        return [
            candidate
            for digest, candidate in found.items()
            if digest != serving and digest not in self.barred
        ]

    @property
    def registered(self) -> dict[int, Candidate]:
        """Every candidate that the ledger knows, by version; a drill's is none of them."""
        return {
            op.candidate.version: op.candidate for op in self.newest.values() if op.kind != DRILL
        }


def share_of(note: Note) -> Share:
    """A note of traffic as the share that it gave (weight 0: took)."""
    told = note.evidence
    return Share(
        note=note,
        op_id=str(told["op"]),
        serial=int(told["serial"]),
        stage=int(told["stage"]),
        variant=str(told["variant"]),
        version=int(told["version"]),
        digest=str(told["digest"]),
        weight=float(told["weight"]),
    )


def replay_of(connection: Connection, model: str, at: datetime | None = None) -> Replay:
    """Replay a model's rows, all of them or those that were written by a moment.

    A clock that once stepped back does not cut the past off: rows count up to the last one whose
    time is not later.
    """
    query = select(tables.ops).where(tables.ops.c.model == model).order_by(tables.ops.c.seq)
    records = [record_of(dict(row._mapping)) for row in connection.execute(query)]
    if at is not None:
        by_then = [place for place, record in enumerate(records, 1) if record.at <= at]
        records = records[: max(by_then, default=0)]
    replay = Replay()
    for record in records:
        replay.follow(record)
    return replay


def _routes_alike(one: Share, other: Share) -> bool:
    return replace(one, note=other.note, serial=other.serial, stage=other.stage) == other


def _epoch_made(commit: Op) -> int:
    return int(commit.evidence["after"]["epoch"])
