"""The operation that a release run works on: what the ledger says of it, not what a file claims."""

from ferryman.errors import PolicyRefused, SpecError, Superseded
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Op, State
from ferryman.steps.contract import StepContext


def gated_op(context: StepContext, ledger: Ledger) -> tuple[Op, int]:
    """The operation that this run's gate let pass, and the epoch that the gate saw.

    Raises Superseded (exit 5) when a newer release was committed meanwhile, PolicyRefused (exit 9)
    when the ledger holds no passed gate for it.
    """
    gate = context.earlier("gate").outputs
    try:
        op_id, base = str(gate["op_id"]), int(str(gate["base_epoch"]))
    except (KeyError, ValueError) as error:
        raise SpecError(
            "the result of 'gate' names no operation", remedy="Run it again."
        ) from error
    op = ledger.op(op_id)
    if op is None or op.model != context.spec.name:
        raise PolicyRefused(f"the ledger has no operation {op_id[:12]} of {context.spec.name}")
    if op.state is State.SUPERSEDED:
        raise Superseded(f"{op.model} version {op.candidate.version}: {op.evidence.get('by')}")
    if op.state in (State.TRAINED, State.REGISTERED, State.REJECTED, State.FAILED):
        raise PolicyRefused(
            f"{op.model} version {op.candidate.version} is {op.state}: no gate let it pass"
        )
    return op, base
