"""What may be asked of the ledger."""

from datetime import datetime

from sqlalchemy import select

from ferryman.ledger import leases, routing, tables
from ferryman.ledger.audit import problems
from ferryman.ledger.engine import open_engine, transaction
from ferryman.ledger.queries import (
    committed_head,
    history_of,
    newest_row,
    notes_of,
    quarantine_reason,
    read_head,
)
from ferryman.ledger.records import Candidate, Head, Lease, Note, Op, Protected, Routing, State
from ferryman.ledger.replay import replay_of
from ferryman.ledger.rows import head_of


class LedgerReader:
    """Every question to a ledger; nothing here changes it."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)

    def head(self, model: str) -> Head | None:
        """What a model serves by decision; None before its first release."""
        with transaction(self._engine) as connection:
            return read_head(connection, model)

    def heads(self) -> list[Head]:
        """The heads of all models, by name."""
        with transaction(self._engine) as connection:
            rows = connection.execute(select(tables.head).order_by(tables.head.c.model))
            return [head_of(row) for row in rows]

    def op(self, op_id: str) -> Op | None:
        """The newest state of one operation."""
        with transaction(self._engine) as connection:
            return newest_row(connection, op_id)

    def ops(self, model: str) -> list[Op]:
        """Every operation of a model in its newest state, in the order of those states."""
        newest = {op.op_id: op for op in self.history(model)}
        return sorted(newest.values(), key=lambda op: op.seq)

    def history(self, model: str) -> list[Op]:
        """Every transition of a model's operations, oldest first."""
        with transaction(self._engine) as connection:
            return history_of(connection, model)

    def notes(self, model: str, *kinds: str) -> list[Note]:
        """A model's notes of the given kinds (of all, where none is given), oldest first."""
        with transaction(self._engine) as connection:
            return notes_of(connection, model, *kinds)

    def committed_head(self, op_id: str) -> Head | None:
        """The head as this operation made it, even when newer ones followed; None if never."""
        with transaction(self._engine) as connection:
            return committed_head(connection, op_id)

    def released(self, model: str, digest: str, version: int | None = None) -> Op | None:
        """The newest commit of a digest, even when newer versions followed; None if never.

        With `version`, that of this version alone: trained anew, the same bytes are another one.
        """
        return next(
            (
                op
                for op in reversed(self._commits(model))
                if op.candidate.digest == digest and version in (None, op.candidate.version)
            ),
            None,
        )

    def commit_of_epoch(self, model: str, epoch: int) -> Op | None:
        """The commit that made an epoch."""
        commits = self._commits(model)
        return next((op for op in commits if op.evidence["after"]["epoch"] == epoch), None)

    def made_by(self, model: str) -> Op | None:
        """The commit that made the head: its kind tells a rollback from a release."""
        commits = self._commits(model)
        return commits[-1] if commits else None

    def is_quarantined(self, model: str, digest: str) -> str | None:
        """Why a digest may never serve again; None when it may."""
        with transaction(self._engine) as connection:
            return quarantine_reason(connection, model, digest)

    def good_versions(self, model: str) -> list[Candidate]:
        """The versions that really served, newest epoch first: what a rollback may choose from.

        Without what is served now and without the quarantined; each digest once.
        """
        with transaction(self._engine) as connection:
            return replay_of(connection, model).good

    def lease(self, model: str) -> Lease | None:
        """The lease on a model's traffic that is held now."""
        with transaction(self._engine) as connection:
            return leases.live(connection, model)

    def routing(self, model: str, at: datetime | None = None) -> Routing:
        """Who is head and who has a share: now, or at a moment (aware) by the rows of that time.

        Raises SpecError (exit 2) for a moment without a time zone.
        """
        with transaction(self._engine) as connection:
            return routing.routing(connection, model, at)

    def protected(self, model: str) -> list[Protected]:
        """Every version that nobody may delete or move, with the reasons, by version."""
        with transaction(self._engine) as connection:
            return routing.protected(connection, model)

    def verify(self) -> list[str]:
        """Every sign that the ledger was changed behind its back; empty when there is none."""
        with transaction(self._engine) as connection:
            return problems(connection)

    def _commits(self, model: str) -> list[Op]:
        return [op for op in self.history(model) if op.state is State.COMMITTED]
