"""A person's answer to a proposed release: bound to what was seen, kept in the ledger."""

from ferryman.errors import Overtaken, PolicyRefused, SpecError
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Op, State
from ferryman.runtime.messages import StepResult
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.steps.contract import StepContext, StepParams
from ferryman.steps.release_op import gated_op, was_in


class Params(StepParams):
    """No parameters: the answer stands in the ledger."""


def run(context: StepContext) -> StepResult:
    """Read the answer that was given to this candidate at this epoch.

    Raises GateRefused (exit 4) where it was no, PolicyRefused (exit 9) where nobody answered yet,
    Overtaken (exit 8) where it was judged anew since.
    """
    ledger = Ledger(context.settings.ledger_url)
    op, base = gated_op(context, ledger)
    if ledger.committed_head(op.op_id) is not None:
        return context.result(text="already released", outputs={"op_id": op.op_id})
    version = op.candidate.version
    if op.base_epoch != base:
        raise Overtaken(
            f"{op.model} version {version} was judged anew, against epoch {op.base_epoch}",
            remedy="Release the run of its training again: it is judged and approved anew.",
        )
    answer = was_in(ledger, op, State.APPROVED)
    if answer is None:
        raise PolicyRefused(
            f"{op.model} version {version} waits for the answer of an approver",
            remedy=f"One of {', '.join(approvers_of(context.model))} runs: ferryman approve "
            f'--model {op.model} --version {version} --reason "..." (or: ferryman reject).',
        )
    return context.result(
        text=f"version {version} was approved by {answer.actor}: {answer.reason}",
        outputs={"op_id": op.op_id, "approver": answer.actor},
    )


def approvers_of(model: DeclaredModel) -> tuple[str, ...]:
    """Who may answer; SpecError (exit 2) for a model whose rollout asks nobody."""
    approval = model.spec.rollout.approval
    if approval is None:
        raise SpecError(
            f"the rollout of {model.name} asks nobody", remedy="Declare rollout.approval.approvers."
        )
    return tuple(approval.approvers)


def open_question(ledger: Ledger, model: str, version: int) -> Op | None:
    """The newest operation of a version that is staged, or was answered and not begun since."""
    answered = (State.STAGED, State.APPROVED, State.REJECTED)
    found = [
        op for op in ledger.ops(model) if op.candidate.version == version and op.state in answered
    ]
    return found[-1] if found else None


def record_answer(  # noqa: PLR0913, PLR0917 - who said what about which bytes, beside which champion
    settings: Settings,
    model: DeclaredModel,
    op_id: str,
    base_epoch: int,
    digest: str,
    approved: bool,
    approver: str,
    requester: str,
    reason: str,
) -> Op:
    """Write an answer to the ledger, bound to the bytes and the champion that the approver saw.

    Anybody may say no. Raises PolicyRefused (exit 9) for a yes of somebody who is not declared, or
    is the requester, and for another answer than was given before; Overtaken (exit 8) where the
    champion has changed since.
    """
    ledger = Ledger(settings.ledger_url)
    allowed = approvers_of(model)
    if approved and approver.casefold() not in {name.casefold() for name in allowed}:
        raise PolicyRefused(
            f"{approver!r} is no approver of {model.name}",
            remedy=f"Approvers (rollout.approval.approvers): {', '.join(allowed)}.",
        )
    op = ledger.op(op_id)
    if op is None or op.model != model.name:
        raise PolicyRefused(f"the ledger has no operation {op_id[:12]} of {model.name}")
    head = ledger.head(model.name)
    epoch = head.epoch if head else 0
    if (op.base_epoch, epoch) != (base_epoch, base_epoch):
        raise Overtaken(
            f"{model.name} is at epoch {epoch}; what was proposed was judged against epoch "
            f"{base_epoch}",
            remedy="Judge it anew: run the release again from `gate`.",
        )
    return ledger.decide(
        op_id,
        base_epoch=base_epoch,
        digest=digest,
        approved=approved,
        actor=approver,
        requester=requester,
        reason=reason,
    )
