"""Who answered a model's requests at a moment, with all that the ledger knows of why."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ferryman.ledger.ledger_reader import LedgerReader
from ferryman.ledger.records import Head, Op, Routing, State
from ferryman.spec.windows import format_time


@dataclass(frozen=True)
class Served:
    """The head at a moment, the commit that made it, and what had led to that commit.

    `gated` and `approved` are of the release that this version came by, where a rollback returned
    to it; None where there was none: an adoption has no gate, not every release asks somebody.
    """

    routing: Routing
    commit: Op | None
    gated: Op | None
    approved: Op | None

    @property
    def model(self) -> str:
        """The model's name."""
        return self.routing.model

    @property
    def at(self) -> datetime:
        """The moment that was asked about."""
        return self.routing.at

    @property
    def head(self) -> Head | None:
        """Who was head; None before the first release."""
        return self.routing.head

    @property
    def as_json(self) -> dict[str, Any]:
        """All of it; `head` and what follows from it are null before the first release."""
        told: dict[str, Any] = {"model": self.model, "at": format_time(self.at), "head": None}
        head, commit = self.head, self.commit
        if head is None or commit is None:
            return told
        told["head"] = {
            "version": head.version,
            "digest": head.digest,
            "bundle": head.bundle,
            "epoch": head.epoch,
            "since": format_time(commit.at),
            "frozen": head.frozen,
        }
        told |= {
            "row": commit.seq,
            "operation": commit.op_id,
            "kind": commit.kind,
            "actor": commit.actor,
            "reason": commit.reason,
            "evidence": str(self.gated.evidence.get("text", "")) if self.gated else "",
            "approved_by": _answer(self.approved),
            "data": commit.candidate.model_dump(
                include={"train_dataset", "eval_dataset", "cutoff", "code_version", "mlflow_run_id"}
            ),
            "candidate": _candidate(self.routing),
        }
        return told


def served_at(ledger: LedgerReader, model: str, at: datetime | None = None) -> Served:
    """Look up who served a model at a moment (aware), or now."""
    routing = ledger.routing(model, at)
    if routing.head is None:
        return Served(routing, None, None, None)
    history = ledger.history(model)
    commit = next(
        op
        for op in history
        if op.state is State.COMMITTED and op.evidence["after"]["epoch"] == routing.head.epoch
    )
    # What a rollback returns to was judged and approved when it was released.
    reached = {
        op.state: op
        for op in history
        if op.candidate.digest == commit.candidate.digest and op.seq <= commit.seq
    }
    return Served(routing, commit, reached.get(State.GATED), reached.get(State.APPROVED))


def _answer(approved: Op | None) -> dict[str, Any] | None:
    if approved is None:
        return None
    return {
        "actor": approved.actor,
        "reason": approved.reason,
        "at": format_time(approved.at),
        "row": approved.seq,
    }


def _candidate(routing: Routing) -> dict[str, Any] | None:
    if not routing.weight or routing.since is None or routing.lease_until is None:
        return None
    return {
        "version": routing.version,
        "digest": routing.digest,
        "variant": routing.variant,
        "weight": routing.weight,
        "operation": routing.op_id,
        "since": format_time(routing.since),
        "lease_until": format_time(routing.lease_until),
    }
