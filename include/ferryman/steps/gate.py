"""Lets a candidate pass on evidence alone: scored with the champion on the same rows.

The verdict is a row of the ledger, made against one epoch; later steps believe that row only.
"""

import logging
from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError

from ferryman.errors import GateRefused, PolicyRefused, SpecError, Superseded
from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import NEXT, VERDICTS, Candidate, Head, Op, State
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.runtime.messages import StepResult
from ferryman.steps.contract import StepContext, StepParams
from ferryman.steps.judging import judge_candidate
from ferryman.steps.model_servers import has_administration
from ferryman.steps.reconcile import finish_last_release
from ferryman.steps.release_op import refuse_ended

logger = logging.getLogger(__name__)


class Params(StepParams):
    """The candidate, where another run trained and registered it; else that of this run.

    `backfill`: a backfill made it, and nobody asked for its release.
    """

    candidate: dict[str, JsonValue] | None = None
    backfill: bool = False


def run(context: StepContext) -> StepResult:
    """Judge the candidate, or repeat the verdict that it was given against this epoch.

    What a backfill made is not judged: it may be superseded, or waits until somebody asks for it.
    Raises GateRefused (exit 4) when it failed, nothing can be decided, or it was rejected or
    withdrawn at this epoch before, Superseded (exit 5) when the head is as new, PolicyRefused
    (exit 9) when it is quarantined, or the registry does not know it as it says.
    """
    ledger = Ledger(context.settings.ledger_url)
    model, candidate = context.spec.name, read_candidate(context)
    barred = ledger.is_quarantined(model, candidate.digest)
    if barred is not None:
        raise PolicyRefused(f"{model} version {candidate.version} is quarantined: {barred}")
    released = _released(ledger, model, candidate)
    if released is not None:
        return _already_done(context, released)
    _check_registered(context, candidate)
    finish_last_release(ledger, context.settings, model)
    if _only_backfilled(context) and not _is_older(candidate, ledger.head(model)):
        return _waits_for_a_word(context, candidate)
    reason = candidate.reason or "candidate registered"
    op = ledger.open_op(PROMOTE, model, candidate, context.settings.actor, reason)
    head = ledger.head(model)
    _refuse_older(ledger, op, head)
    base = head.epoch if head else 0
    refuse_ended(ledger, op, base)
    _check_place(context)
    evidence = _given_verdict(ledger, op, base)
    if evidence is None:
        # What is registered does not depend on the champion: it is written once, at epoch 0.
        registered: dict[str, JsonValue] = {"version": candidate.version}
        ledger.advance(op.op_id, State.REGISTERED, registered, base_epoch=0)
        judged = judge_candidate(context, candidate, head)
        evidence = {**judged, "requires": _required(context, head)}
        state = State.GATED if evidence["outcome"] == "passed" else State.REJECTED
        ledger.advance(op.op_id, state, evidence, base_epoch=base)
    return _answer(context, op, base, evidence)


def read_candidate(context: StepContext) -> Candidate:
    """The candidate of the params, or of this run's own training and registration."""
    params = context.params
    given = params.candidate if isinstance(params, Params) else None
    if given is None:
        trained, registered = context.earlier("train").outputs, context.earlier("register").outputs
        from_train = ("cutoff", "train_dataset", "eval_dataset", "code_version", "mlflow_run_id")
        given = {name: trained[name] for name in (*from_train, "reason") if name in trained}
        for name in ("version", "bundle", "digest", "run_key"):
            given[name] = registered[name]
        # Versions are numbered in the order of registration: that is the training sequence.
        given["sequence"] = registered["version"]
    try:
        return Candidate.model_validate(given)
    except ValidationError as error:
        texts = [f"{d['loc'][0] if d['loc'] else ''}: {d['msg']}" for d in error.errors()[:10]]
        raise SpecError(
            f"step 'gate': the candidate is wrong: {'; '.join(texts)}",
            remedy=f"Keys of a candidate: {', '.join(Candidate.model_fields)}.",
        ) from error


def _check_place(context: StepContext) -> None:
    """A rollout in stages needs a server that gives shares; said before anything is judged."""
    spec = context.spec
    if spec.rollout.planned and not has_administration(context.settings, spec):
        raise SpecError(
            f"{spec.name}: server {spec.serving.server!r} is in a cluster, which gives no shares",
            remedy="Write `rollout: {strategy: direct}`, or a server of processes or containers.",
        )


def _required(context: StepContext, head: Head | None) -> dict[str, JsonValue]:
    """What must happen between this verdict and a commit; the ledger holds a commit to it."""
    rollout = context.spec.rollout
    # A first version has no champion to stand beside: it is exposed to nobody.
    exposed = bool(rollout.planned) and head is not None
    return {"approval": rollout.approval is not None, "exposure": exposed}


def _only_backfilled(context: StepContext) -> bool:
    return isinstance(context.params, Params) and context.params.backfill


def _waits_for_a_word(context: StepContext, candidate: Candidate) -> StepResult:
    return context.result(
        verdict="not_needed",
        text=f"version {candidate.version} (cut-off {candidate.cutoff}) comes from a backfill, "
        f"which releases nothing: start {context.spec.name}.release with the param run",
        outputs={"candidate": candidate.model_dump(mode="json")},
    )


def _is_older(candidate: Candidate, head: Head | None) -> bool:
    return head is not None and head.order_key >= candidate.order_key


def _released(ledger: Ledger, model: str, candidate: Candidate) -> Op | None:
    """The commit that leaves nothing to do: the candidate's own, or its bytes' while they serve.

    Bytes that served long ago may be trained anew, as when a change is taken back: they are judged.
    """
    head = ledger.head(model)
    serves = head is not None and head.digest == candidate.digest
    return ledger.released(model, candidate.digest, None if serves else candidate.version)


def _already_done(context: StepContext, op: Op) -> StepResult:
    epoch = op.evidence["after"]["epoch"]
    return context.result(
        text=f"already done (epoch {epoch})",
        outputs={
            "op_id": op.op_id,
            "base_epoch": op.base_epoch,
            "candidate": op.candidate.model_dump(mode="json"),
            "comparison": {},
            "epoch": epoch,
        },
    )


def _refuse_older(ledger: Ledger, op: Op, head: Head | None) -> None:
    if head is None or not _is_older(op.candidate, head):
        return
    if State.SUPERSEDED in NEXT[op.state]:
        by: dict[str, JsonValue] = {"epoch": head.epoch, "version": head.version}
        ledger.advance(op.op_id, State.SUPERSEDED, {"by": by})
    raise Superseded(
        f"{op.model} version {head.version} (epoch {head.epoch}, cut-off "
        f"{head.order_key.cutoff}) is as new as version {op.candidate.version} "
        f"(cut-off {op.order_key.cutoff})"
    )


def _given_verdict(ledger: Ledger, op: Op, base: int) -> dict[str, Any] | None:
    """The evidence of the verdict that this operation was given against this epoch."""
    for row in ledger.history(op.model):
        if row.op_id == op.op_id and row.base_epoch == base and row.state in VERDICTS:
            return row.evidence
    return None


def _check_registered(context: StepContext, candidate: Candidate) -> None:
    """Only what we registered may serve, with the digest, the key and the cut-off of that time."""
    settings, model = context.settings, context.spec.name
    registry = MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts)
    version = registry.get_version(model, candidate.version)
    if version is None:
        raise PolicyRefused(f"{model} has no registered version {candidate.version}")
    known = {"digest": version.digest, "run_key": version.run_key}
    for name in ("cutoff", "eval_dataset", "train_dataset"):
        if f"ferryman.{name}" in version.tags:
            known[name] = version.tags[f"ferryman.{name}"]
    for name, expected in known.items():
        given = getattr(candidate, name)
        if given != expected:
            raise PolicyRefused(
                f"{model} version {candidate.version} was registered with {name} {expected}, "
                f"not {given}"
            )
    place = settings.bundles_root / model / candidate.digest
    if Path(candidate.bundle).resolve() != place.resolve():
        raise PolicyRefused(f"the bundle of {model} version {candidate.version} is not {place}")


def _answer(context: StepContext, op: Op, base: int, evidence: dict[str, Any]) -> StepResult:
    if evidence["outcome"] != "passed":
        raise GateRefused(str(evidence["text"]))
    return context.result(
        verdict="passed",
        text=str(evidence["text"]),
        outputs={
            "op_id": op.op_id,
            "base_epoch": base,
            "candidate": op.candidate.model_dump(mode="json"),
            "comparison": evidence,
        },
        metrics=dict(evidence["candidate"]),
    )
