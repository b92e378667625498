"""A candidate's share of the traffic: the ledger decides it, the server follows.

Whoever looks after a stage holds the model's lease. The share stands under a lease of the same
length at the server, which takes it back by itself when nobody renews it.
"""

import logging
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from ferryman.errors import DependencyUnavailable, LostRace, Superseded
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import STAGE, TRAFFIC, Note, Op, State
from ferryman.runtime.connections import Connections
from ferryman.runtime.traffic import Traffic, TrafficState, Variant
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.spec.rollout import StageSpec
from ferryman.steps.model_servers import model_server_of
from ferryman.steps.pipelines import stage_title

LEASE = 45.0  # seconds: a share whose keeper died is gone within a minute
RENEWED = 10.0  # seconds between two looks
MOST_LOSSES = 3
_LOST = "lease"  # why a share went to 0: nobody renewed it

_VARIANTS: dict[str, Variant] = {"canary": "canary", "ab": "challenger", "shadow": "shadow"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exposure:
    """One stage of one operation, and where it happens."""

    settings: Settings
    model: DeclaredModel
    ledger: Ledger
    op: Op
    stage: int
    connections: Connections | None = None
    origin: str = ""

    @property
    def plan(self) -> StageSpec:
        """What is declared of the stage."""
        return self.model.spec.rollout.planned[self.stage]

    @property
    def variant(self) -> Variant:
        """How requests meet the candidate."""
        return _VARIANTS[self.model.spec.rollout.strategy]

    @property
    def title(self) -> str:
        """What people call it."""
        name = stage_title(self.model.spec.rollout, self.stage)
        return f"{self.op.model} version {self.op.candidate.version}, {name}"

    @property
    def facts(self) -> dict[str, JsonValue]:
        """What every note of this stage says of itself."""
        return {"op": self.op.op_id, "base_epoch": self.op.base_epoch, "stage": self.stage}


@dataclass(frozen=True)
class StageRecord:
    """What the ledger holds of a stage at its epoch.

    `share` is the note of the share that stands by it; `losses` counts leases that ran out;
    `ending` is the verdict of an exposure that was to end, and whose end may be unfinished.
    """

    share: Note | None = None
    losses: int = 0
    passed: Note | None = None
    ending: dict[str, Any] | None = None


def read_stage(ledger: Ledger, op: Op, stage: int) -> StageRecord:
    """Read one stage of an operation at its present epoch."""
    share, losses, passed, ending = None, 0, None, None
    for note in ledger.notes(op.model, TRAFFIC, STAGE):
        told = note.evidence
        if (told.get("op"), told.get("base_epoch")) != (op.op_id, op.base_epoch):
            continue
        here = told.get("stage") == stage
        if note.kind == STAGE:
            passed = note if here and told.get("outcome") == "passed" else passed
        elif told["weight"] > 0:
            share = note if here else None
        else:
            share = None
            losses += here and told.get("why") == _LOST
            ending = told.get("ending") or ending
    return StageRecord(share, losses, passed, ending)


def begin_share(exposure: Exposure) -> TrafficState:
    """Take the model's lease and give the candidate this stage's share.

    Raises LostRace (exit 8) while another operation holds the lease, and what the server raises.
    """
    ledger, op = exposure.ledger, exposure.op
    lease = ledger.take_lease(op.model, op.op_id, f"release of {op.op_id[:12]}", LEASE)
    if op.state is not State.EXPOSED:
        told: dict[str, JsonValue] = {**exposure.facts, "weight": exposure.plan.weight}
        ledger.advance(op.op_id, State.EXPOSED, told, base_epoch=op.base_epoch)
    _note_share(exposure, lease.serial, exposure.plan.weight, "the stage begins", {})
    return _tell_server(exposure, lease.serial)


def renew_share(exposure: Exposure, share: Note) -> TrafficState:
    """Renew both leases. Raises LostRace (exit 8) where the ledger's ran out meanwhile."""
    serial = int(share.evidence["serial"])
    exposure.ledger.renew_lease(exposure.op.model, serial, LEASE)
    return _tell_server(exposure, serial)


def note_lost_lease(exposure: Exposure, share: Note) -> None:
    """Write that the share ended because nobody renewed it; the server has ended it by itself."""
    serial = int(share.evidence["serial"])
    why: dict[str, JsonValue] = {"why": _LOST}
    text = f"the lease was not renewed for {LEASE:.0f} s and ran out"
    _note_share(exposure, serial, 0.0, text, why)
    _withdraw(exposure, serial)


def end_share(exposure: Exposure, reason: str, ending: dict[str, JsonValue] | None = None) -> None:
    """Give everything back to the champion: in the ledger, at the server. Safe to repeat.

    A server that is away takes the share back itself, when its lease ends.
    """
    ledger, op = exposure.ledger, exposure.op
    newest = _newest_share(ledger, op)
    if newest is not None:
        _end_noted(exposure, newest, reason, ending)
    # One that was taken before the first share is nobody's any more, either.
    lease = ledger.lease(op.model)
    if lease is not None and lease.op_id == op.op_id:
        ledger.drop_lease(op.model, lease.serial)


def _end_noted(
    exposure: Exposure, newest: Note, reason: str, ending: dict[str, JsonValue] | None
) -> None:
    serial = int(newest.evidence["serial"])
    try:
        if newest.evidence["weight"] > 0:
            _note_share(exposure, serial, 0.0, reason, {"ending": ending} if ending else {})
    except LostRace as error:
        logger.info("%s: another release has the traffic already: %s", exposure.title, error.text)
    finally:
        _withdraw(exposure, serial)


def end_any_share(
    settings: Settings,
    model: DeclaredModel,
    op: Op,
    reason: str,
    connections: Connections | None = None,
) -> None:
    """End the share that an operation has, at whichever stage; nothing where it has none."""
    ledger = Ledger(settings.ledger_url)
    standing = standing_share(ledger, op)
    if standing is not None:
        stage = int(standing.evidence["stage"])
        end_share(Exposure(settings, model, ledger, op, stage, connections), reason[:500])


def standing_share(ledger: Ledger, op: Op) -> Note | None:
    """The newest share of an operation, where the ledger does not say that it ended."""
    newest = _newest_share(ledger, op)
    return newest if newest is not None and newest.evidence["weight"] > 0 else None


def _newest_share(ledger: Ledger, op: Op) -> Note | None:
    notes = ledger.notes(op.model, TRAFFIC)
    return next((note for note in reversed(notes) if note.evidence["op"] == op.op_id), None)


def _note_share(
    exposure: Exposure, serial: int, weight: float, reason: str, evidence: dict[str, JsonValue]
) -> None:
    exposure.ledger.set_traffic(
        exposure.op.op_id,
        serial=serial,
        stage=exposure.stage,
        variant=exposure.variant,
        weight=weight,
        reason=reason,
        evidence=evidence,
        lease_seconds=LEASE,
    )


def _tell_server(exposure: Exposure, serial: int) -> TrafficState:
    op = exposure.op
    traffic = Traffic(
        op=op.op_id,
        variant=exposure.variant,
        version=op.candidate.version,
        digest=op.candidate.digest,
        weight=exposure.plan.weight,
        base_epoch=op.base_epoch,
        fence=serial,
        stage=exposure.stage,
        lease=LEASE,
    )
    spec = exposure.model.spec
    with model_server_of(exposure.settings, spec, exposure.connections) as server:
        return server.expose(op.model, traffic, op.candidate.bundle)


def _withdraw(exposure: Exposure, serial: int) -> None:
    spec = exposure.model.spec
    try:
        with model_server_of(exposure.settings, spec, exposure.connections) as server:
            server.withdraw(exposure.op.model, serial)
    except DependencyUnavailable as error:
        logger.warning("%s: the share ends with its lease: %s", exposure.title, error.text)
    except Superseded as error:
        logger.info("%s: a newer share stands: %s", exposure.title, error.text)
