"""Makes the candidate champion: the one decision of a release, one transaction of the ledger."""

import logging
from dataclasses import replace

from ferryman.errors import DependencyUnavailable, FerrymanError, LostRace, Overtaken
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Head, Op, State
from ferryman.runtime.messages import StepResult
from ferryman.steps.contract import StepContext, StepParams
from ferryman.steps.release_op import gated_op, was_in
from ferryman.steps.rollout_share import end_any_share

_ATTEMPTS = 3
_ANEW = "Release the run of its training again: the champion changed, so it is judged anew."

logger = logging.getLogger(__name__)


class Params(StepParams):
    """No parameters: what is committed is what the gate let pass."""


def run(context: StepContext) -> StepResult:
    """Commit by compare-and-set, or say that it was done before.

    Where the champion changed since the gate, and nothing but the gate's verdict is lost by it, the
    candidate is judged and staged again, here and at once. Raises Superseded (exit 5) when a newer
    release won, GateRefused (exit 4) when the new champion is better, Overtaken (exit 8) when an
    approval or an exposure would have to be repeated, PolicyRefused (exit 9) when frozen or
    quarantined.
    """
    ledger = Ledger(context.settings.ledger_url)
    op, base = gated_op(context, ledger)
    before = ledger.committed_head(op.op_id)
    for attempt in range(_ATTEMPTS):
        try:
            head = before or _commit(ledger, op, base)
            break
        except LostRace as error:
            if not _is_cheap(ledger, op):
                end_any_share(context.settings, context.model, op, error.text, context.connections)
                raise Overtaken(error.text, remedy=_ANEW) from error
            if attempt == _ATTEMPTS - 1:
                raise LostRace(error.text) from error  # the next one judges it anew again
            logger.warning("%s: %s: it is judged anew", op.model, error.text)
        except DependencyUnavailable:
            raise
        except FerrymanError as error:
            # A commit before its time, by hand, does not end an exposure that goes on.
            if op.state is State.PROVEN:
                end_any_share(context.settings, context.model, op, error.text, context.connections)
            raise
        op, base = _judge_anew(context, ledger)
    done = f"already done (epoch {head.epoch})"
    return context.result(
        text=done if before else f"version {head.version} is champion (epoch {head.epoch})",
        outputs={"epoch": head.epoch, "version": head.version, "digest": head.digest},
    )


def _commit(ledger: Ledger, op: Op, base: int) -> Head:
    if op.base_epoch != base:  # a killed commit had begun to judge it anew
        raise LostRace(f"{op.model} was judged anew against epoch {op.base_epoch}, not {base}")
    now = ledger.head(op.model)
    if now is not None and now.epoch != base and now.order_key < op.order_key:
        raise LostRace(f"{op.model} is at epoch {now.epoch}; the gate saw epoch {base}")
    head = ledger.commit(op.op_id, base)
    lease = ledger.lease(op.model)
    if lease is not None and lease.op_id == op.op_id:
        ledger.drop_lease(op.model, lease.serial)  # the server ends the share as it loads the epoch
    return head


def _is_cheap(ledger: Ledger, op: Op) -> bool:
    """Whether nothing is lost but the gate's verdict: no person answered, no user took part."""
    gated = was_in(ledger, op, State.GATED)
    required = gated.evidence.get("requires", {}) if gated else {}
    return not any(required.values())


def _judge_anew(context: StepContext, ledger: Ledger) -> tuple[Op, int]:
    """Gate and stage once more, against the champion of now."""
    from ferryman.steps import gate, stage  # dear, and seldom needed

    given = context.earlier("gate").outputs["candidate"]
    params = gate.Params.model_validate({"candidate": given})
    asked = context.request.model_copy(update={"step": "gate"})
    verdict = gate.run(replace(context, request=asked, params=params))
    results = {**context.request.results, "gate": verdict}
    asked = context.request.model_copy(update={"step": "stage", "results": results})
    staged = replace(context, request=asked, params=stage.Params())
    stage.run(staged)
    return gated_op(staged, ledger)
