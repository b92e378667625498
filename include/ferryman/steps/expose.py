"""Holds a candidate at one stage of its rollout until the evidence has decided.

A stage is looked at again and again, by whichever process: all that a look must know stands in the
ledger. Pass needs positive evidence; what is undecided when patience ends is never promoted.
"""

import logging
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field, JsonValue

from ferryman.errors import (
    DependencyUnavailable,
    FerrymanError,
    IntegrityBroken,
    LostRace,
    Overtaken,
    PolicyRefused,
    SpecError,
    Superseded,
)
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import STAGE, Note, State
from ferryman.rollout.evidence import Evidence
from ferryman.runtime.connections import Connections
from ferryman.runtime.messages import StepResult
from ferryman.runtime.traffic import TrafficState
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.steps.contract import StepContext, StepParams
from ferryman.steps.release_op import gated_op
from ferryman.steps.rollout_ending import abort, deciding_rules, finish, interrupt, refusal
from ferryman.steps.rollout_evidence import judge_stage, told_of
from ferryman.steps.rollout_refusals import refuse_barred, refuse_unready
from ferryman.steps.rollout_share import (
    MOST_LOSSES,
    RENEWED,
    Exposure,
    StageRecord,
    begin_share,
    end_share,
    note_lost_lease,
    read_stage,
    renew_share,
)

Outcome = Literal["hold", "passed", "failed", "undecided", "lost"]

_TOLD_EVERY = 30.0  # seconds
_SOON = 0.2  # seconds: the end of a hold is looked at soon after it

logger = logging.getLogger(__name__)


class Params(StepParams):
    """Which of the planned stages, from 0."""

    stage: int = Field(default=0, ge=0, le=9)


@dataclass(frozen=True)
class Look:
    """What one look at a stage found, and after how many seconds to look again while it holds.

    `superseded` tells of a lost one that a newer release won, so that nothing is left to do;
    `overtaken` of one that stands beside another champion by now, so that no look can win it.
    """

    outcome: Outcome
    text: str
    again_in: float = 0.0
    superseded: bool = False
    overtaken: bool = False


def run(context: StepContext) -> StepResult:
    """Look at a stage until it is decided; for the command line.

    Raises GateRefused (exit 4) where the candidate is withdrawn, Overtaken (exit 8) or Superseded
    (exit 5) where the champion changed meanwhile, LostRace (exit 8) where others had the traffic
    for too long, and what `look` raises.
    """
    op, base = gated_op(context, Ledger(context.settings.ledger_url))
    stage = context.params.stage if isinstance(context.params, Params) else 0
    told = -math.inf
    while True:
        seen = look(
            context.settings,
            context.model,
            op.op_id,
            base,
            stage,
            context.connections,
            origin=context.origin,
        )
        if seen.outcome != "hold":
            return conclude(context, seen)
        if time.monotonic() - told >= _TOLD_EVERY:
            told = time.monotonic()
            logger.info("%s", seen.text)
        time.sleep(seen.again_in)


def conclude(context: StepContext, seen: Look) -> StepResult:
    """The result of a stage that passed; raises what the other outcomes stand for (see `run`)."""
    if seen.outcome == "lost":
        if seen.superseded:
            raise Superseded(seen.text)
        raise Overtaken(seen.text) if seen.overtaken else LostRace(seen.text)
    if seen.outcome != "passed":
        raise refusal(seen.outcome, seen.text)
    stage = context.params.stage if isinstance(context.params, Params) else 0
    return context.result(text=seen.text, outputs={"stage": stage})


def look(  # noqa: PLR0913, PLR0917 - what to look at, and with what
    settings: Settings,
    model: DeclaredModel,
    op_id: str,
    base_epoch: int,
    stage: int,
    connections: Connections | None = None,
    *,
    origin: str = "",
) -> Look:
    """Look once: renew lease and share, judge, and write what is decided. Safe to repeat.

    What failed, ran out of patience or lost its champion is withdrawn before this returns. A server
    that is away is waited for while patience lasts; then DependencyUnavailable (exit 6), and no
    verdict. Raises PolicyRefused (exit 9) for an operation that may not be exposed (now),
    IntegrityBroken (exit 7) where the server finds other bytes than were recorded, SpecError
    (exit 2) for a stage that is not declared, or a server that knows no shares.
    """
    ledger = Ledger(settings.ledger_url)
    op = ledger.op(op_id)
    if op is None or op.model != model.name:
        raise PolicyRefused(f"the ledger has no operation {op_id[:12]} of {model.name}")
    planned = model.spec.rollout.planned
    if stage >= len(planned):
        raise SpecError(f"the rollout of {model.name} has {len(planned)} stages, no {stage + 1}th")
    exposure = Exposure(settings, model, ledger, op, stage, connections, origin)
    over = _over(exposure, base_epoch)
    if over is not None:
        return over
    record = read_stage(ledger, op, stage)
    if record.ending is not None:
        return _ended(record.ending["outcome"], finish(exposure, record.ending))
    moved = _moved(exposure)
    if moved is not None:
        return moved
    refuse_barred(exposure)
    if record.passed is not None or op.state is State.PROVEN:
        return _passed(exposure, record.passed.reason if record.passed else exposure.title)
    refuse_unready(exposure)
    return _look_on(exposure, record)


def _over(exposure: Exposure, base_epoch: int) -> Look | None:
    """What is decided already, by this operation's own state."""
    op, ledger = exposure.op, exposure.ledger
    done = ledger.committed_head(op.op_id)
    found: Look | None = None
    if done is not None:
        found = Look("passed", f"already released (epoch {done.epoch})")
    elif op.state is State.SUPERSEDED:
        found = Look("lost", f"{op.model}: a newer release won", superseded=True)
    elif op.base_epoch != base_epoch:
        text = f"{exposure.title}: judged anew against epoch {op.base_epoch}, not {base_epoch}"
        found = Look("lost", text, overtaken=True)
    elif op.state is State.ABORTED:
        found = _ended(op.evidence.get("outcome"), str(op.evidence.get("text", op.reason)))
    elif base_epoch == 0 and ledger.head(op.model) is None:
        found = Look("passed", "a first version has no champion to stand beside")
    return found


def _ended(outcome: object, text: str) -> Look:
    return Look("undecided" if outcome == "undecided" else "failed", text)


def _moved(exposure: Exposure) -> Look | None:
    """Another champion than the one that the candidate is compared with: all is over."""
    op, head = exposure.op, exposure.ledger.head(exposure.op.model)
    if head is not None and head.epoch == op.base_epoch:
        return None
    epoch = head.epoch if head else 0
    text = f"{exposure.title}: the champion changed (epoch {epoch}, judged against {op.base_epoch})"
    end_share(exposure, text)
    superseded = head is not None and head.order_key >= op.order_key
    if superseded and head is not None:
        by: dict[str, JsonValue] = {"epoch": head.epoch, "version": head.version}
        exposure.ledger.advance(op.op_id, State.SUPERSEDED, {"by": by}, base_epoch=op.base_epoch)
    return Look("lost", text, superseded=superseded, overtaken=not superseded)


def _look_on(exposure: Exposure, record: StageRecord) -> Look:
    share = record.share
    if share is None and record.losses >= MOST_LOSSES:
        text = f"nobody looked after the stage in time, {record.losses} times"
        return _ended("undecided", abort(exposure, "undecided", text))
    try:
        state = begin_share(exposure) if share is None else renew_share(exposure, share)
    except LostRace as error:
        return _without_lease(exposure, share, error)
    except (DependencyUnavailable, Superseded) as error:
        return _without_server(exposure, error)
    except (IntegrityBroken, SpecError) as error:
        interrupt(exposure, error)
        raise
    began = share or read_stage(exposure.ledger, exposure.op, exposure.stage).share
    if began is None:  # another keeper ended it this very moment
        return Look("hold", f"{exposure.title}: is being withdrawn", _SOON)
    return _judged(exposure, state, began)


def _without_lease(exposure: Exposure, share: Note | None, error: LostRace) -> Look:
    """Our lease ran out, or another operation has it."""
    if share is not None:
        try:
            note_lost_lease(exposure, share)
        except LostRace:
            logger.info("%s: another release took the traffic", exposure.title)
        else:
            return Look("hold", f"{exposure.title}: the lease was lost, the stage begins anew")
    plan = exposure.plan
    if _seconds_since(exposure.op.at) >= (plan.hold + plan.patience).total_seconds():
        return Look("lost", f"{exposure.title}: {error.text}")
    return Look("hold", f"{exposure.title}: waits: {error.text}", RENEWED)


def _without_server(exposure: Exposure, error: FerrymanError) -> Look:
    """No verdict on the candidate: the server is waited for, and its lease ends the share."""
    plan = exposure.plan
    share = read_stage(exposure.ledger, exposure.op, exposure.stage).share
    since = share.at if share is not None else exposure.op.at
    if _seconds_since(since) < (plan.hold + plan.patience).total_seconds():
        return Look("hold", f"{exposure.title}: {error.text}", RENEWED)
    interrupt(exposure, error)
    if isinstance(error, DependencyUnavailable):
        raise error
    return Look("lost", f"{exposure.title}: {error.text}")


def _judged(exposure: Exposure, state: TrafficState, share: Note) -> Look:
    evidence = judge_stage(exposure, state)
    told = {**told_of(evidence, state), "rule": deciding_rules(evidence)}
    if evidence.outcome == "failed":
        return _ended("failed", abort(exposure, "failed", evidence.text, told))
    held, plan = _seconds_since(share.at), exposure.plan
    left = plan.hold.total_seconds() - held
    if left <= 0 and evidence.outcome == "passed" and state.everywhere:
        return _pass(exposure, evidence, told)
    if left + plan.patience.total_seconds() <= 0:
        text = f"patience ended after {held:.0f} s: {evidence.text}"
        return _ended("undecided", abort(exposure, "undecided", text, told))
    text = f"{exposure.title}: held for {held:.0f} s: {evidence.text}"
    # A short stage is looked at more often; one of a day no less often than its lease asks for.
    pace = min(RENEWED, max(_SOON, plan.hold.total_seconds() / 10))
    return Look("hold", text, min(pace, max(left, _SOON)) if left > 0 else pace)


def _pass(exposure: Exposure, evidence: Evidence, told: dict[str, JsonValue]) -> Look:
    text = f"{exposure.title}: passed: {evidence.text}"
    exposure.ledger.note(
        STAGE,
        exposure.op.model,
        actor=exposure.settings.actor,
        reason=text[:500],
        evidence={**exposure.facts, "weight": exposure.plan.weight, **told},
    )
    return _passed(exposure, text)


def _passed(exposure: Exposure, text: str) -> Look:
    """Of the last stage also the proof that a commit asks for; the share stays until then."""
    last = exposure.stage == len(exposure.model.spec.rollout.planned) - 1
    if last and exposure.op.state is State.EXPOSED:
        proven: dict[str, JsonValue] = {**exposure.facts, "text": text}
        op = exposure.op
        exposure.ledger.advance(op.op_id, State.PROVEN, proven, base_epoch=op.base_epoch)
    return Look("passed", text)


def _seconds_since(moment: datetime) -> float:
    return max(0.0, (datetime.now(UTC) - moment).total_seconds())
