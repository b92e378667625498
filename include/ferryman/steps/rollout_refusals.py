"""Who may not be exposed, whatever the evidence: the barred, the unstaged, the unapproved."""

from ferryman.errors import PolicyRefused
from ferryman.ledger.records import State
from ferryman.steps.release_op import was_in
from ferryman.steps.rollout_share import Exposure, end_share, read_stage

_STAGED = (State.STAGED, State.APPROVED, State.EXPOSED, State.PROVEN)


def refuse_barred(exposure: Exposure) -> None:
    """End what a person forbade meanwhile: PolicyRefused (exit 9), with the share at 0."""
    op, ledger = exposure.op, exposure.ledger
    head, why = ledger.head(op.model), ledger.is_quarantined(op.model, op.candidate.digest)
    text = ""
    if why is not None:
        text = f"{op.model} version {op.candidate.version} is quarantined: {why}"
    elif head is not None and head.frozen:
        text = f"{op.model} is frozen at epoch {head.epoch}: no candidate meets users"
    if text:
        end_share(exposure, text)
        raise PolicyRefused(text)


def refuse_unready(exposure: Exposure) -> None:
    """Raise PolicyRefused (exit 9) for a candidate that is not staged, approved, or due yet."""
    op = exposure.op
    name = f"{op.model} version {op.candidate.version}"
    if op.state not in _STAGED:
        raise PolicyRefused(f"{name} is {op.state}: only a staged candidate is exposed")
    gated = was_in(exposure.ledger, op, State.GATED)
    required = gated.evidence.get("requires", {}) if gated else {}
    if op.state is State.STAGED and required.get("approval"):
        raise PolicyRefused(f"{name} waits for the answer of an approver")
    if exposure.stage and read_stage(exposure.ledger, op, exposure.stage - 1).passed is None:
        raise PolicyRefused(f"{name}: stage {exposure.stage} has not passed yet")
