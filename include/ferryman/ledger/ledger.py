"""The ledger: every release decision once, in order, and who is head of each model.

Alias, served version and metrics are projections of it. Decisions rest on epochs and order keys;
the `at` of a row is the writer's clock and decides nothing.
"""

from collections.abc import Mapping

from pydantic import JsonValue

from ferryman.errors import FerrymanError, LostRace
from ferryman.ledger import approval, decision, leases, notes, opening, shares
from ferryman.ledger.appending import append_state, remember_good
from ferryman.ledger.engine import writing
from ferryman.ledger.ledger_reader import LedgerReader
from ferryman.ledger.queries import read_head, require_op, row_in
from ferryman.ledger.records import PROMOTE, Candidate, Head, Lease, Note, Op, State
from ferryman.ledger.transitions import check_not_final, check_step, check_way
from ferryman.ledger.words import Act

__all__ = ["PROMOTE", "Ledger"]


class Ledger(LedgerReader):
    """The release ledger in one database. Safe for many processes; holds no open connection.

    Every method raises DependencyUnavailable (exit 6) when the database is away, full or read-only.
    """

    def open_op(self, kind: str, model: str, candidate: Candidate, actor: str, reason: str) -> Op:
        """Begin a promotion (TRAINED), or find the one that this same candidate began before."""
        act = Act.of_program(actor, reason)
        with writing(self._engine) as connection:
            return opening.open_promotion(connection, kind, model, candidate, act)

    def open_rollback(
        self,
        model: str,
        target: Candidate,
        *,
        actor: str,
        reason: str,
        base_epoch: int | None = None,
    ) -> Op:
        """Begin to leave the head for a version that served before (REQUESTED at its epoch).

        The same rollback is one operation, whoever asks how often. `base_epoch` is the epoch that
        the target was chosen at: LostRace (exit 8) when another is served by now, so that two who
        click at once go one step back. A rollback whose target is served already is returned.
        Raises PolicyRefused (exit 9) for a target that never served or is quarantined, SpecError
        (exit 2) for a reason of fewer than 10 or more than 500 characters.
        """
        act = Act.of_person(actor, reason)
        with writing(self._engine) as connection:
            return opening.open_rollback(connection, model, target, act, base_epoch)

    def open_adoption(
        self,
        model: str,
        candidate: Candidate,
        *,
        actor: str,
        reason: str,
        base_epoch: int | None = None,
    ) -> Op:
        """Begin to follow an alias that was moved by hand (REQUESTED at the head's epoch).

        Raises PolicyRefused (exit 9) for what is served already or quarantined, LostRace (exit 8)
        where `base_epoch` is not that of the head.
        """
        act = Act.of_person(actor, reason)
        with writing(self._engine) as connection:
            return opening.open_adoption(connection, model, candidate, act, base_epoch)

    def open_drill(self, model: str, candidate: Candidate, *, actor: str, reason: str) -> Op:
        """Begin a drill (REQUESTED at the head's epoch): exposed and aborted, never committed.

        The candidate's cut-off and sequence tell one drill from the next; a repeat finds the same.
        """
        act = Act.of_program(actor, reason)
        with writing(self._engine) as connection:
            return opening.open_drill(connection, model, candidate, act)

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
        A GATED promotion's evidence may hold `requires: {"approval": bool, "exposure": bool}`,
        which `commit` insists on. Raises LostRace (exit 8) when the epoch is another,
        PolicyRefused (exit 9) for a state that may not follow: what was ABORTED or REJECTED at an
        epoch stays so at that epoch.
        """
        with writing(self._engine) as connection:
            op = require_op(connection, op_id)
            base = op.base_epoch if base_epoch is None else base_epoch
            check_not_final(op, state, base)
            if row_in(connection, op_id, state, base) is not None:
                return op
            check_step(op, state, base)
            if state is State.EXPOSED:
                head = read_head(connection, op.model)
                if (head.epoch if head else 0) != base:
                    raise LostRace(
                        f"{op.model} is at epoch {head.epoch if head else 0}, not {base}"
                    )
                check_way(op, row_in(connection, op_id, State.GATED, base))
            done = append_state(connection, op._replace(base_epoch=base), state, evidence)
            if state is State.DONE:
                remember_good(connection, op_id)
            return done

    def decide(  # noqa: PLR0913 - each of them is part of what is signed
        self,
        op_id: str,
        *,
        base_epoch: int,
        digest: str,
        approved: bool,
        actor: str,
        requester: str,
        reason: str,
    ) -> Op:
        """Record a person's answer to a staged candidate: APPROVED or REJECTED.

        The same answer again changes nothing. Raises PolicyRefused (exit 9) where the approver is
        the requester or whoever began the operation, where digest or epoch are not those of the
        operation, and for another answer than the first; LostRace (exit 8) where the champion
        changed meanwhile; SpecError (exit 2) for a reason of fewer than 10 or more than 500
        characters. Anybody may say no, the requester too.
        """
        answer = approval.Answer(base_epoch, digest, approved, actor, requester, reason)
        with writing(self._engine) as connection:
            return approval.decide(connection, op_id, answer)

    def commit(self, op_id: str, base_epoch: int) -> Head:
        """Make the operation's candidate head: the one decision, in one transaction.

        It holds when the epoch is still `base_epoch`, the order key is newer than the head's, the
        model is not frozen, the digest not quarantined and all done that the gate required. An
        operation that was committed before returns the head that it made then. Otherwise, and with
        nothing changed: Superseded (exit 5) when the head's order key is as new, LostRace (exit 8)
        when only the epoch moved, PolicyRefused (exit 9) when frozen, quarantined, without a passed
        gate or without what that required.

        A rollback keeps the order key, quarantines the digest that it leaves, and is allowed while
        frozen. An adoption takes the higher order key of both.
        """
        with writing(self._engine) as connection:
            found = decision.commit(connection, op_id, base_epoch)
        if isinstance(found, FerrymanError):
            raise found  # after the transaction: that it was superseded is kept
        return found

    def take_lease(self, model: str, op_id: str, holder: str, seconds: float) -> Lease:
        """Take the lease on a model's traffic, under a new serial.

        Whoever holds it for the same operation has it renewed, under the same serial; another
        holder of the same operation takes it over. Raises LostRace (exit 8) while another
        operation holds it.
        """
        with writing(self._engine) as connection:
            return leases.take(connection, model, op_id, holder, seconds)

    def renew_lease(self, model: str, serial: int, seconds: float) -> Lease:
        """Hold a lease for so long from now; LostRace (exit 8) when it ran out or was taken."""
        with writing(self._engine) as connection:
            return leases.renew(connection, model, serial, seconds)

    def drop_lease(self, model: str, serial: int) -> None:
        """Give a lease back; a repeat does nothing."""
        with writing(self._engine) as connection:
            leases.drop(connection, model, serial)

    def set_traffic(  # noqa: PLR0913 - each of them is part of what is noted
        self,
        op_id: str,
        *,
        serial: int,
        stage: int,
        variant: str,
        weight: float,
        reason: str,
        evidence: Mapping[str, JsonValue],
        lease_seconds: float,
    ) -> Note:
        """Note what share a candidate has; the note that stands where it says the same.

        A share needs the live lease of this serial, an EXPOSED or PROVEN operation at the epoch
        that is served, and a model that is not frozen. Weight 0 needs no more than that nobody of
        a higher serial holds the lease. Raises LostRace (exit 8) or PolicyRefused (exit 9).
        """
        asked = shares.ShareRequest(serial, stage, variant, weight, reason, evidence, lease_seconds)
        with writing(self._engine) as connection:
            return shares.set_traffic(connection, op_id, asked)

    def note(  # noqa: PLR0913 - a row's columns
        self,
        kind: str,
        model: str,
        *,
        actor: str,
        reason: str,
        evidence: Mapping[str, JsonValue],
        once_by: str = "",
    ) -> Note:
        """Write what a program saw or did: a STAGE, GUARD or ALERT. Each call is a row.

        With `once_by`, a key of the evidence, the first row of a value there is the only one,
        whoever else writes it at the same moment.
        """
        act = Act.of_program(actor, reason)
        with writing(self._engine) as connection:
            return notes.write_note(connection, kind, model, act, evidence, once_by=once_by)

    def quarantine(self, model: str, digest: str, *, why: str, actor: str) -> None:
        """Forbid a digest for ever; a repeat changes nothing."""
        act = Act.of_person(actor, why)
        with writing(self._engine) as connection:
            notes.bar(connection, model, digest, act)

    def set_frozen(self, model: str, frozen: bool, *, actor: str, reason: str) -> None:
        """Forbid (or allow again) promotions, adoptions and shares of a model.

        A rollback stays allowed: it may be what the freeze waits for. A repeat changes nothing.
        """
        act = Act.of_person(actor, reason)
        with writing(self._engine) as connection:
            notes.set_frozen(connection, model, frozen, act)

    def set_held(self, model: str, version: int, held: bool, *, actor: str, reason: str) -> None:
        """Put a version under a legal hold, or end that: what is held is protected."""
        act = Act.of_person(actor, reason)
        with writing(self._engine) as connection:
            notes.set_held(connection, model, version, held, act)
