"""What the ledger holds: candidates, operations with their states, and heads."""

import hashlib
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from ferryman.errors import SpecError
from ferryman.runtime.messages import canonical_json

DIGEST = r"^[0-9a-f]{64}$"  # the pattern engine is Rust's: `$` matches at the very end only


# Kinds of operations: what may change who serves, and the drill, which never does.
PROMOTE, ROLLBACK, ADOPT, DRILL = "promote", "rollback", "adopt", "drill"
# Kinds of notes: acts and events that are no release.
FREEZE, UNFREEZE, QUARANTINE = "freeze", "unfreeze", "quarantine"
HOLD, UNHOLD = "hold", "unhold"
TRAFFIC, STAGE, GUARD, ALERT = "traffic", "stage", "guard", "alert"
NOTES = frozenset({FREEZE, UNFREEZE, QUARANTINE, HOLD, UNHOLD, TRAFFIC, STAGE, GUARD, ALERT})


class State(StrEnum):
    """How far an operation has come."""

    TRAINED = "TRAINED"
    REGISTERED = "REGISTERED"
    REQUESTED = "REQUESTED"
    GATED = "GATED"
    STAGED = "STAGED"
    APPROVED = "APPROVED"
    EXPOSED = "EXPOSED"
    PROVEN = "PROVEN"
    COMMITTED = "COMMITTED"
    PROJECTED = "PROJECTED"
    DONE = "DONE"
    REJECTED = "REJECTED"
    SUPERSEDED = "SUPERSEDED"
    ABORTED = "ABORTED"
    FAILED = "FAILED"


# What `advance` may write after each state of a promotion. Only `decide` writes APPROVED (or
# REJECTED after STAGED), only `commit` writes COMMITTED.
NEXT: dict[State, frozenset[State]] = {
    State.TRAINED: frozenset({State.REGISTERED, State.SUPERSEDED, State.FAILED}),
    State.REGISTERED: frozenset({State.GATED, State.REJECTED, State.SUPERSEDED, State.FAILED}),
    State.REQUESTED: frozenset(),
    State.GATED: frozenset({State.STAGED, State.SUPERSEDED, State.ABORTED, State.FAILED}),
    State.STAGED: frozenset({State.EXPOSED, State.SUPERSEDED, State.ABORTED, State.FAILED}),
    State.APPROVED: frozenset({State.EXPOSED, State.SUPERSEDED, State.ABORTED, State.FAILED}),
    State.EXPOSED: frozenset({State.PROVEN, State.SUPERSEDED, State.ABORTED, State.FAILED}),
    State.PROVEN: frozenset({State.SUPERSEDED, State.ABORTED, State.FAILED}),
    State.COMMITTED: frozenset({State.PROJECTED, State.SUPERSEDED}),
    State.PROJECTED: frozenset({State.DONE, State.SUPERSEDED}),
    State.DONE: frozenset(),
    State.REJECTED: frozenset(),
    State.SUPERSEDED: frozenset(),
    State.ABORTED: frozenset(),
    State.FAILED: frozenset(),
}
# A lost race is gated anew, against the new champion: the same states at a higher base epoch.
JUDGED_AGAIN = frozenset(
    {
        State.GATED,
        State.STAGED,
        State.APPROVED,
        State.EXPOSED,
        State.PROVEN,
        State.REJECTED,
        State.ABORTED,
    }
)
VERDICTS = frozenset({State.GATED, State.REJECTED})


class OrderKey(NamedTuple):
    """Which of two candidates is newer: data cut-off first, then training sequence."""

    cutoff: str
    sequence: int

    @property
    def text(self) -> str:
        """A form of fixed width, so that a database compares it as the tuple compares."""
        return f"{self.cutoff}#{self.sequence:012d}"

    @classmethod
    def parse(cls, text: str) -> "OrderKey":
        """Read back what `text` wrote."""
        cutoff, _, sequence = text.partition("#")
        return cls(cutoff, int(sequence))


def utc_text(moment: datetime) -> str:
    """A cut-off as YYYY-MM-DDTHH:MM:SSZ; SpecError (exit 2) when it is naive or has fractions.

    One fixed form, because order keys are compared as text.
    """
    if moment.tzinfo is None:
        raise SpecError(f"cut-off {moment.isoformat()} has no time zone", remedy="Give it in UTC.")
    if moment.microsecond:
        raise SpecError(
            f"cut-off {moment.isoformat()} has fractions of a second",
            remedy="Cut data off at whole seconds; windows end at midnight UTC.",
        )
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Candidate(BaseModel):
    """A registered version that asks to serve; unknown keys are refused: it comes from outside.

    Version 0 is a drill's: a model that was made to be caught, and is registered nowhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(ge=0)
    digest: str = Field(pattern=DIGEST)
    bundle: str = Field(min_length=1, max_length=4096)
    cutoff: str
    sequence: int = Field(ge=0, lt=10**12)
    run_key: str = Field(min_length=1, max_length=200)
    train_dataset: str = Field(default="", max_length=200)
    eval_dataset: str = Field(min_length=1, max_length=200)
    code_version: str = Field(default="", max_length=200)
    mlflow_run_id: str = Field(default="", max_length=200)
    reason: str = Field(default="", max_length=1000)

    @field_validator("cutoff")
    @classmethod
    def _one_form(cls, value: str) -> str:
        try:
            return utc_text(datetime.fromisoformat(value))
        except SpecError as error:
            raise ValueError(error.text) from error

    @property
    def order_key(self) -> OrderKey:
        """Where this candidate stands in time."""
        return OrderKey(self.cutoff, self.sequence)


class Op(NamedTuple):
    """One transition of one operation, as it was written."""

    seq: int
    op_id: str
    kind: str
    model: str
    state: State
    base_epoch: int
    candidate: Candidate
    order_key: OrderKey
    actor: str
    reason: str
    evidence: dict[str, Any]
    at: datetime


class Note(NamedTuple):
    """An act that is no release, such as a freeze, a quarantine, a share of the traffic."""

    seq: int
    kind: str
    model: str
    actor: str
    reason: str
    evidence: dict[str, Any]
    at: datetime


class Head(NamedTuple):
    """What a model serves: the result of the newest committed operation.

    `last_good` lists versions that really served, newest first: {epoch, version, digest, bundle}.
    """

    model: str
    epoch: int
    version: int
    digest: str
    bundle: str
    order_key: OrderKey
    last_good: list[dict[str, Any]]
    frozen: bool


class Lease(NamedTuple):
    """Who may give a candidate of a model its share now; of two serials the higher one counts."""

    model: str
    op_id: str
    serial: int
    holder: str
    expires_at: datetime


class Routing(NamedTuple):
    """Who answered a model's requests at a moment, by decision.

    Without a candidate `weight` is 0 and `op_id`, `variant`, `digest` are empty. `since` is when
    this began; `lease_until` is until when the share stood unless it was renewed (else None).
    """

    model: str
    at: datetime
    head: Head | None
    op_id: str = ""
    variant: str = ""
    version: int = 0
    digest: str = ""
    weight: float = 0.0
    since: datetime | None = None
    lease_until: datetime | None = None


class Protected(NamedTuple):
    """A version that nobody may delete or move, and every reason for it."""

    model: str
    version: int
    digest: str
    bundle: str
    why: tuple[str, ...]


def operation_id(kind: str, model: str, digest: str, order_key: OrderKey) -> str:
    """The same decision has the same id, whichever run, try or trigger asks for it."""
    return request_id(kind, model, digest, order_key.cutoff, order_key.sequence)


def request_id(*parts: JsonValue) -> str:
    """The id of what the parts say: the sha256 of their canonical JSON."""
    return hashlib.sha256(canonical_json(list(parts))).hexdigest()
