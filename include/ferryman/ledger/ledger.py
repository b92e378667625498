"""The ledger: every release decision once, in order, and who is head of each model.

Alias, served version and metrics are projections of it. Decisions rest on epochs and order keys;
the `at` of a row is the writer's clock and decides nothing.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import JsonValue
from sqlalchemy import ColumnElement, Connection, Select, insert, select, update

from ferryman.errors import FerrymanError, SpecError, Superseded
from ferryman.ledger import tables
from ferryman.ledger.appending import Entry, append_row, append_state, note_id, remember_good
from ferryman.ledger.audit import problems
from ferryman.ledger.decision import check_ready, check_step, move_head, why_not
from ferryman.ledger.engine import open_engine, transaction, writing
from ferryman.ledger.queries import (
    committed_head,
    newest_row,
    quarantine_reason,
    read_head,
    require_op,
    was_in,
)
from ferryman.ledger.records import (
    FREEZE,
    NEXT,
    NOTES,
    QUARANTINE,
    UNFREEZE,
    Candidate,
    Head,
    Note,
    Op,
    OrderKey,
    State,
    operation_id,
)
from ferryman.ledger.rows import head_json, head_of, note_of, op_of, op_of_mapping

PROMOTE = "promote"


class Ledger:
    """The release ledger in one database. Safe for many processes; holds no open connection.

    Every method raises DependencyUnavailable (exit 6) when the database is away, full or read-only.
    """

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
            rows = connection.execute(_rows_of(model, tables.ops.c.kind.not_in(NOTES)))
            return [op_of(row) for row in rows]

    def notes(self, model: str) -> list[Note]:
        """Every freeze and quarantine of a model, oldest first."""
        with transaction(self._engine) as connection:
            rows = connection.execute(_rows_of(model, tables.ops.c.kind.in_(NOTES)))
            return [note_of(dict(row._mapping)) for row in rows]

    def committed_head(self, op_id: str) -> Head | None:
        """The head as this operation made it, even when newer ones followed; None if never."""
        with transaction(self._engine) as connection:
            return committed_head(connection, op_id)

    def released(self, model: str, digest: str) -> Op | None:
        """The newest commit of a digest, even when newer versions followed; None if never."""
        commits = self._commits(model)
        return next((op for op in reversed(commits) if op.candidate.digest == digest), None)

    def commit_of_epoch(self, model: str, epoch: int) -> Op | None:
        """The commit that made an epoch."""
        commits = self._commits(model)
        return next((op for op in commits if op.evidence["after"]["epoch"] == epoch), None)

    def is_quarantined(self, model: str, digest: str) -> str | None:
        """Why a digest may never serve again; None when it may."""
        with transaction(self._engine) as connection:
            return quarantine_reason(connection, model, digest)

    def open_op(self, kind: str, model: str, candidate: Candidate, actor: str, reason: str) -> Op:
        """Begin an operation (TRAINED), or find the one that this same candidate began before."""
        op_id = operation_id(kind, model, candidate.digest, candidate.order_key)
        with writing(self._engine) as connection:
            found = newest_row(connection, op_id)
            if found is not None:
                return found
            entry = Entry(
                op_id=op_id,
                kind=kind,
                model=model,
                state=State.TRAINED,
                base_epoch=0,
                candidate=candidate,
                order_key=candidate.order_key,
                actor=actor,
                reason=reason,
                evidence={},
            )
            return op_of_mapping(append_row(connection, entry))

    def advance(
        self,
        op_id: str,
        state: State,
        evidence: Mapping[str, JsonValue],
        *,
        base_epoch: int | None = None,
    ) -> Op:
        """Record that an operation reached a state; a repeat changes nothing.

        `base_epoch` is the epoch that the evidence was made against; a verdict (GATED, REJECTED)
        may be given again at a higher one, any other state must name that of the last verdict.
        Raises LostRace (exit 8) when the epoch is another, PolicyRefused (exit 9) for a state that
        may not follow.
        """
        with writing(self._engine) as connection:
            op = require_op(connection, op_id)
            base = op.base_epoch if base_epoch is None else base_epoch
            if was_in(connection, op_id, state, base):
                return op
            check_step(op, state, base)
            done = append_state(connection, op, state, evidence, base)
            if state is State.DONE:
                remember_good(connection, op_id)
            return done

    def commit(self, op_id: str, base_epoch: int) -> Head:
        """Make the operation's candidate head: the one decision, in one transaction.

        It holds when the epoch is still `base_epoch`, the order key is newer than the head's, the
        model is not frozen and the digest not quarantined. An operation that was committed before
        returns the head that it made then. Otherwise, and with nothing changed: Superseded (exit 5)
        when the head's order key is as new, LostRace (exit 8) when only the epoch moved,
        PolicyRefused (exit 9) when frozen, quarantined or without a passed gate.
        """
        refusal: FerrymanError
        with writing(self._engine) as connection:
            op = require_op(connection, op_id)
            done = committed_head(connection, op_id)
            if done is not None:
                return done
            before = read_head(connection, op.model)
            check_ready(op, before, base_epoch)
            after = move_head(connection, op, base_epoch)
            if after is not None:
                evidence = {"before": head_json(before), "after": head_json(after)}
                append_state(connection, op, State.COMMITTED, evidence, base_epoch)
                return after
            refusal = why_not(connection, op, base_epoch)
            if isinstance(refusal, Superseded) and State.SUPERSEDED in NEXT[op.state]:
                append_state(
                    connection, op, State.SUPERSEDED, {"by": head_json(before)}, base_epoch
                )
        raise refusal

    def _commits(self, model: str) -> list[Op]:
        return [op for op in self.history(model) if op.state is State.COMMITTED]

    def quarantine(self, model: str, digest: str, *, why: str, actor: str) -> None:
        """Forbid a digest for ever; a repeat changes nothing."""
        with writing(self._engine) as connection:
            if quarantine_reason(connection, model, digest) is not None:
                return
            entry = _note(connection, QUARANTINE, model, actor, why)
            note = append_row(connection, replace(entry, evidence={"digest": digest}))
            connection.execute(
                insert(tables.quarantine).values(model=model, digest=digest, why=why, at=note["at"])
            )

    def set_frozen(self, model: str, frozen: bool, *, actor: str, reason: str) -> None:
        """Forbid (or allow again) every commit of a model; a repeat changes nothing."""
        with writing(self._engine) as connection:
            head = read_head(connection, model)
            if head is None:
                raise SpecError(f"model {model!r} has no release yet", remedy="Release it first.")
            if head.frozen == frozen:
                return
            kind = FREEZE if frozen else UNFREEZE
            entry = _note(connection, kind, model, actor, reason)
            evidence = {"before": head.frozen, "after": frozen, "epoch": head.epoch}
            append_row(connection, replace(entry, evidence=evidence))
            connection.execute(
                update(tables.head).where(tables.head.c.model == model).values(frozen=frozen)
            )

    def verify(self) -> list[str]:
        """Every sign that the ledger was changed behind its back; empty when there is none."""
        with transaction(self._engine) as connection:
            return problems(connection)


def _rows_of(model: str, condition: ColumnElement[bool]) -> Select[Any]:
    return (
        select(tables.ops).where(tables.ops.c.model == model, condition).order_by(tables.ops.c.seq)
    )


def _note(connection: Connection, kind: str, model: str, actor: str, reason: str) -> Entry:
    """An act that is no release, as one finished row of its own."""
    return Entry(
        op_id=note_id(connection, kind),
        kind=kind,
        model=model,
        state=State.DONE,
        base_epoch=0,
        candidate=None,
        order_key=OrderKey("", 0),
        actor=actor,
        reason=reason,
        evidence={},
    )
