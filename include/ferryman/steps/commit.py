"""Makes the candidate champion: the one decision of a release, one transaction of the ledger."""

from ferryman.ledger.ledger import Ledger
from ferryman.runtime.messages import StepResult
from ferryman.steps.contract import StepContext, StepParams
from ferryman.steps.release_op import gated_op


class Params(StepParams):
    """No parameters: what is committed is what the gate let pass."""


def run(context: StepContext) -> StepResult:
    """Commit by compare-and-set, or say that it was done before.

    Raises Superseded (exit 5) when a newer release won, LostRace (exit 8) when only the epoch moved
    (the gate must look at the new champion), PolicyRefused (exit 9) when frozen or quarantined.
    """
    ledger = Ledger(context.settings.ledger_url)
    op, base = gated_op(context, ledger)
    before = ledger.committed_head(op.op_id)
    head = ledger.commit(op.op_id, base)
    done = f"already done (epoch {head.epoch})"
    return context.result(
        text=done if before else f"version {head.version} is champion (epoch {head.epoch})",
        outputs={"epoch": head.epoch, "version": head.version, "digest": head.digest},
    )
