"""The late verdict: what labels that came after a release say of the answers of its exposure.

Only the exposure counts: after the commit all requests are the new champion's, and nobody was drawn
to be compared with.
"""

from datetime import UTC, datetime
from typing import cast

from pydantic import JsonValue

from ferryman.errors import Overtaken
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import PROMOTE, STAGE, Op, State
from ferryman.rollout.evidence import Finding
from ferryman.runtime.messages import StepResult
from ferryman.steps.contract import StepContext, StepParams
from ferryman.steps.exposed_rows import exposure_of
from ferryman.steps.labelled_answers import LabelledAnswers, label_finding, labelled_losses
from ferryman.steps.rollback_by_evidence import automatic, finish_automatic

LATE = "verdict"  # what a note of the kind STAGE says in the place of a stage's number


class Params(StepParams):
    """What kind of run asks."""

    backfill: bool = False


def run(context: StepContext) -> StepResult:
    """Compare again with the labels known by now; a champion that proves worse is rolled back.

    Looks at the release that made the present champion, as long as `rollout.labels.late` after its
    commit. Every look on new labels is a note in the ledger. A backfill rolls nothing back. A
    rollback that was killed after its decision is followed to its end.
    """
    if cast(Params, context.params).backfill:
        return _not_needed(context, "a backfill rolls nothing back")
    finished = finish_automatic(context.settings, context.model, context.connections)
    if finished is not None:
        return context.result(
            text=f"ended what was begun: {finished.text}", outputs={"rolled_back": True}
        )
    now, ledger = datetime.now(UTC), Ledger(context.settings.ledger_url)
    op, why = _exposed_release(context, ledger, now)
    if op is None:
        return _not_needed(context, why)
    answers = labelled_losses(
        context.settings, context.connections, context.model, op, now, ledger=ledger
    )
    told = f"version {op.candidate.version}: "
    last = _last_look(ledger, op)
    if last is not None and last["digest"] == answers.digest and last["outcome"] != "failed":
        return _not_needed(context, f"{told}no new labels since: {last['text']}")
    finding = label_finding(answers, context.spec.rollout.labels)
    # A look that failed and could not be followed by its rollback is not noted twice.
    if last is None or last["digest"] != answers.digest:
        _note(context, ledger, op, finding, answers)
    if finding.outcome == "failed":
        try:
            automatic(
                context.settings,
                context.model,
                op=op,
                finding=finding,
                connections=context.connections,
            )
        except Overtaken as error:
            return _not_needed(context, f"{told}{finding.text}; {error.text}")
        told = f"rolled back version {op.candidate.version}: "
    return context.result(
        text=told + finding.text,
        outputs={**finding.as_json(), **_counts(answers), "rolled_back": _failed(finding)},
        metrics={"effect": finding.effect, "low": finding.low, "high": finding.high},
    )


def _exposed_release(context: StepContext, ledger: Ledger, now: datetime) -> tuple[Op | None, str]:
    """The commit to look at; else None, and why there is none."""
    made = ledger.made_by(context.model.name)
    if made is None:
        return None, "nothing is served yet"
    newest = ledger.op(made.op_id)
    version = made.candidate.version
    if made.kind != PROMOTE:
        return None, f"version {version} serves by {made.kind}, without an exposure"
    if newest is None or newest.state is not State.DONE:
        return None, f"the release of version {version} is not finished"
    if exposure_of(ledger, made) is None:
        return None, f"version {version} was released without an exposure"
    late = context.spec.rollout.labels.late
    if now > made.at + late:
        return None, f"version {version} was committed more than {late} ago"
    return made, ""


def _last_look(ledger: Ledger, op: Op) -> dict[str, str] | None:
    looks = [
        note.evidence
        for note in ledger.notes(op.model, STAGE)
        if note.evidence.get("op") == op.op_id and note.evidence.get("stage") == LATE
    ]
    return looks[-1] if looks else None


def _note(
    context: StepContext, ledger: Ledger, op: Op, finding: Finding, answers: LabelledAnswers
) -> None:
    """The look in the ledger, before anything follows from it."""
    evidence: dict[str, JsonValue] = {
        **finding.as_json(),
        **_counts(answers),
        "op": op.op_id,
        "base_epoch": op.base_epoch,
        "version": op.candidate.version,
        "stage": LATE,
        "digest": answers.digest,
    }
    reason, actor = f"labels after the release: {finding.text}", context.settings.actor
    ledger.note(STAGE, op.model, actor=actor, reason=reason, evidence=evidence)


def _counts(answers: LabelledAnswers) -> dict[str, JsonValue]:
    return {
        "metric": answers.metric,
        "answered": dict(answers.answered),
        "labelled": dict(answers.labelled),
    }


def _failed(finding: Finding) -> bool:
    return finding.outcome == "failed"


def _not_needed(context: StepContext, text: str) -> StepResult:
    return context.result(text=text, verdict="not_needed", outputs={"rolled_back": False})
