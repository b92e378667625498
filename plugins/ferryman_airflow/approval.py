"""The tasks that put a release before a person: a proposal, and a question that Airflow asks.

The answer counts where it stands in the ledger, bound to the bytes and to the champion that the
approver saw; a task that somebody marks as successful approves nothing.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import ExceptionRetryPolicy, Param, RetryAction
from airflow.sdk.execution_time.hitl import HITLUser
from pydantic import JsonValue

from ferryman.errors import FerrymanError, PolicyRefused
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Op, State
from ferryman.ledger.words import check_other_person
from ferryman.runtime.files import read_json, write_json
from ferryman.runtime.messages import StepRequest
from ferryman.runtime.run_store import RESULT, read_result, step_folder
from ferryman.settings import load_settings
from ferryman.spec.model import DeclaredModel
from ferryman.spec.rollout import ApprovalSpec
from ferryman.steps.approve import record_answer
from ferryman.steps.release_op import refuse_ended, was_in
from ferryman_airflow.asset_events import proposal_params
from ferryman_airflow.links import release_pages, task_page
from ferryman_airflow.notifications import tell_once
from ferryman_airflow.operators import InlineStep, step

NOBODY_ANSWERED = "nobody"  # the ledger's actor where no answer came in time
_TRIES_AGAIN, _PAUSE = 3, timedelta(seconds=2)
_NO_RETRY = ExceptionRetryPolicy(rules=[], default=RetryAction.FAIL)
_ASKED = "asked.json"
_NO_REASON = "no reason was given"
_REASON = Param(
    None,
    type=["null", "string"],
    maxLength=500,
    title="Reason",
    description="Why, in 10 characters or more; it stands in the ledger.",
)

logger = logging.getLogger(__name__)


class ApproveRelease(InlineStep, ApprovalOperator):  # type: ignore[misc] # Airflow is untyped here
    """Asks the declared approvers, but for whoever asked for the release, and keeps the answer.

    No, and no answer in time, end the run without a failure: what comes after is skipped. Nothing
    of what is shown is ever rendered as a template.
    """

    template_fields: Sequence[str] = ()

    def __init__(self, *, declared: DeclaredModel, approval: ApprovalSpec, **kwargs: Any) -> None:
        super().__init__(
            declared=declared,
            step_name="approve",
            subject=f"Release of {declared.name}",
            defaults=[self.REJECT],
            response_timeout=approval.answer_within,
            # What failed of itself stands. Airflow may take a quick answer for a failure: then the
            # next try passes on what the ledger holds, or asks again.
            retries=_TRIES_AGAIN,
            retry_delay=_PAUSE,
            retry_policy=_NO_RETRY,
            **kwargs,
        )
        self.approval = approval

    def execute(self, context: Any) -> Any:
        """Ask, unless the ledger holds the answer already or nobody is left to be asked."""
        try:
            request = self.build_request(context)
            proposal = _proposal(request)
            op = self._unanswered(proposal) if proposal else None
            if op is not None:
                asked = self._approvers(str(proposal["requester"]), str(proposal["begun_by"]))
                self._ask_once(request, proposal)
        except FerrymanError as error:
            self._log_refusal(error)
            raise
        if op is None:
            return self.perform(context)
        pages = release_pages(self.declared.name, str(proposal["training_run"]), op)
        self.subject = str(proposal["subject"])
        self.body = "\n\n".join([str(proposal["body"]), *pages])
        self.assigned_users = [HITLUser(id=name, name=name) for name in asked]
        self._tell(context, proposal, asked)
        return ApprovalOperator.execute(self, context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Write the answer to the ledger; what is not written there counts nowhere."""
        try:
            self._check_answer(event)
            request = self._request = self.build_request(context)
            approved = list(event["chosen_options"]) == [self.APPROVE]
            self._record(_proposal(request), approved, event)
        except FerrymanError as error:
            self._log_refusal(error)
            raise
        if approved:
            return self.perform(context)
        return ApprovalOperator.execute_complete(self, context, event)

    def _check_answer(self, event: dict[str, Any]) -> None:
        if "error" in event:
            self.process_trigger_event_error(event)
        self.validate_chosen_options(event["chosen_options"])

    def _approvers(self, requester: str, begun_by: str) -> list[str]:
        """Who may answer; PolicyRefused (exit 9) where only those could who asked for it."""
        others = [name for name in self.approval.approvers if _is_other(name, requester, begun_by)]
        if not others:
            raise PolicyRefused(
                f"{requester!r} asked for this release of {self.declared.name}, and nobody else is "
                "declared as an approver",
                remedy="Name another in rollout.approval.approvers, or let somebody else start it.",
            )
        return others

    def _unanswered(self, proposal: dict[str, JsonValue]) -> Op | None:
        """The operation to answer; None where it has a yes, or was committed before.

        A yes counts for the bytes and the champion of this proposal: whatever else was answered is
        asked anew. Raises GateRefused (exit 4) where a no stands.
        """
        ledger = Ledger(load_settings().ledger_url)
        op_id = str(proposal["op_id"])
        op = ledger.op(op_id)
        if op is None:
            raise PolicyRefused(f"the ledger has no operation {op_id[:12]}")
        base_epoch = int(str(proposal["base_epoch"]))
        refuse_ended(ledger, op, base_epoch)
        if ledger.committed_head(op_id) is not None:
            return None
        same = (op.base_epoch, op.candidate.digest) == (base_epoch, str(proposal["digest"]))
        yes = was_in(ledger, op, State.APPROVED) if same else None
        if yes is None:
            return op
        self.log.info("the ledger holds the yes of %s: nobody is asked again", yes.actor)
        return None

    def _ask_once(self, request: StepRequest, proposal: dict[str, JsonValue]) -> None:
        """Refuse to ask a second, other question in one run.

        Airflow goes on showing a run's first question after the task is cleared: an approver would
        read one proposal and answer another.
        """
        file = step_folder(request) / _ASKED
        question = {key: proposal[key] for key in ("op_id", "digest", "base_epoch", "requester")}
        if not file.is_file():
            write_json(file, question)
        elif read_json(file) != question:
            raise PolicyRefused(
                "this run asked before, when another champion served; Airflow would show the old "
                "question again",
                remedy=f"Start a new run of {self.declared.name}.release, with the param run = "
                f"{proposal['training_run']}.",
            )

    def _record(self, proposal: dict[str, JsonValue], approved: bool, event: dict[str, Any]) -> Op:
        settings = load_settings()
        answered_by = event.get("responded_by_user")
        bound: dict[str, Any] = {
            "base_epoch": int(str(proposal["base_epoch"])),
            "digest": str(proposal["digest"]),
            "requester": str(proposal["requester"]),
        }
        op_id = str(proposal["op_id"])
        if not answered_by:
            return Ledger(settings.ledger_url).decide(
                op_id,
                approved=False,
                actor=NOBODY_ANSWERED,
                reason=f"nobody answered within {self.approval.answer_within}",
                **bound,
            )
        return record_answer(
            settings,
            self.declared,
            op_id,
            approved=approved,
            approver=self._name_of(answered_by),
            reason=_reason(event, approved),
            **bound,
        )

    def _name_of(self, user: dict[str, str]) -> str:
        """How the declaration calls who answered: by the id or the name that Airflow knows."""
        known = {name.casefold() for name in self.approval.approvers}
        names = [str(user.get("id") or ""), str(user.get("name") or "")]
        return next((name for name in names if name.casefold() in known), names[0] or names[1])

    def _tell(self, context: Any, proposal: dict[str, JsonValue], asked: Sequence[str]) -> None:
        facts: dict[str, JsonValue] = {
            "model": self.declared.name,
            "version": proposal["version"],
            "requester": proposal["requester"],
            "approvers": list(asked),
            "answer_within": str(self.approval.answer_within),
            "link": f"{task_page(context['ti'])}/required_actions",
        }
        if self.declared.spec.notify.approval:
            facts["text"] = (
                f"{proposal['subject']}; asked for by {proposal['requester']}, to be answered by "
                f"{', '.join(asked)} within {self.approval.answer_within}"
            )
            title = f"{self.declared.name}: approval wanted"
            tell_once(load_settings(), self.declared, "approval", context, title, facts)

    def _log_refusal(self, error: FerrymanError) -> None:
        self.log.error("%s failed (exit %d): %s", self.step_name, error.exit_code, error.text)
        self.log.error("Remedy: %s", error.remedy)


def approval_tasks(model: DeclaredModel) -> tuple[InlineStep, ...]:
    """The proposal and the question."""
    declared = model.spec.rollout.approval
    if declared is None:
        return ()
    # Given from here, because Airflow joins them with the DAG's own before anything else.
    asking = ApproveRelease(
        task_id="approve", declared=model, approval=declared, params={"reason": _REASON}
    )
    return step(model, "propose", derive=proposal_params), asking


def _is_other(name: str, *asked: str) -> bool:
    try:
        check_other_person(name, *asked)
    except PolicyRefused:
        return False
    return True


def _proposal(request: StepRequest) -> dict[str, JsonValue]:
    """What the step `propose` of this run wrote; PolicyRefused (exit 9) where it wrote nothing.

    It is read from the run's folder: an XCom may be changed by whoever may change runs.
    """
    file = Path(request.run_uri) / "propose" / RESULT
    if not file.is_file():
        raise PolicyRefused(
            "this run proposed nothing, so nothing can be approved",
            remedy="Clear the run from `propose`.",
        )
    return dict(read_result(file).outputs)


def _reason(event: dict[str, Any], approved: bool) -> str:
    """The approver's words, or that there were none; the ledger wants ten characters."""
    given = (event.get("params_input") or {}).get("reason")
    words = " ".join(str(given).split())[:500] if given else ""
    at = event.get("responded_at")
    moment = at.strftime("%Y-%m-%d %H:%M:%S %Z") if isinstance(at, datetime) else "in Airflow"
    said = "approved" if approved else "rejected"
    return words if len(words) >= 10 else f"{said} {moment}: {words or _NO_REASON}"
