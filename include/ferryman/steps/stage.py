"""Lets the model's server load the candidate beside what it serves, and replay its golden rows.

A declared server that does not run yet is deployed first.
"""

from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import State
from ferryman.runtime.messages import StepResult
from ferryman.steps.contract import StepContext, StepParams
from ferryman.steps.model_servers import ensure_deployed, model_server_of
from ferryman.steps.release_op import gated_op


class Params(StepParams):
    """No parameters: what is staged is what the gate let pass."""


def run(context: StepContext) -> StepResult:
    """Check the candidate on the server that will serve it.

    Raises DependencyUnavailable (exit 6) when the server is away, IntegrityBroken (exit 7) when it
    finds other bytes or other answers than were recorded; what is served does not change.
    """
    ledger = Ledger(context.settings.ledger_url)
    op, base = gated_op(context, ledger)
    candidate = op.candidate
    done = ledger.committed_head(op.op_id)
    if done is not None:
        return context.result(
            text=f"already done (epoch {done.epoch})", outputs={"digest": candidate.digest}
        )
    if op.state is State.GATED:
        ensure_deployed(context.settings, context.spec.serving.server)
        with model_server_of(context.settings, context.spec, context.connections) as server:
            server.check(op.model, candidate.bundle, candidate.digest)
    ledger.advance(op.op_id, State.STAGED, {"digest": candidate.digest}, base_epoch=base)
    return context.result(
        text=f"version {candidate.version} answers its golden rows on the server",
        outputs={"digest": candidate.digest},
    )
