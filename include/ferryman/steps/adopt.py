"""Releases a registered version on a person's word: the champion need not be beaten.

What the declaration demands of every model holds all the same: a version under a threshold, a
quarantined one, or one that nobody approved where that is declared, gets the alias by no path.
"""

from typing import Any, cast

from pydantic import Field, JsonValue, ValidationError

from ferryman.errors import GateRefused, PolicyRefused
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Candidate, Head, Op, State
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.registry.registry import DUPLICATE_TAG, TRAINING_RUN_TAG, RegisteredVersion
from ferryman.runtime.messages import StepResult, Verdict
from ferryman.steps.contract import Reason, StepContext, StepParams
from ferryman.steps.guard import last_move
from ferryman.steps.judging import judge_candidate
from ferryman.steps.kept_bundles import KeptBundles
from ferryman.steps.model_servers import ensure_deployed, model_server_of
from ferryman.steps.reconcile import reconcile_model
from ferryman.steps.release_op import was_in

_TAGS = ("cutoff", "train_dataset", "eval_dataset", "code_version")


class Params(StepParams):
    """Which version and why; without a version, the one that the alias was moved to by hand."""

    version: int | None = Field(default=None, ge=1)
    reason: Reason


def run(context: StepContext) -> StepResult:
    """Check the version, commit it beside the usual gate, and project it.

    Raises PolicyRefused (exit 9) for a version that was not registered by Ferryman, is quarantined,
    or waits for an approval; GateRefused (exit 4) for one under a declared threshold;
    IntegrityBroken (exit 7) for a bundle that is not as registered.
    """
    ledger, model = Ledger(context.settings.ledger_url), context.spec.name
    head = ledger.head(model)
    if head is None:
        raise PolicyRefused(f"{model} has no release yet", remedy="Run its release first.")
    params = cast(Params, context.params)
    version = params.version or last_move(ledger, model)
    if version is None:
        raise PolicyRefused(
            f"nobody moved the alias of {model} by hand: there is nothing to adopt",
            remedy="Name a registered version with --version.",
        )
    if head.version == version:
        reconcile_model(ledger, context.settings, model, context.connections)
        return _result(context, head, verdict="not_needed")
    candidate = _candidate(context, ledger, version)
    op = ledger.open_adoption(
        model,
        candidate,
        actor=context.settings.actor,
        reason=params.reason,
        base_epoch=head.epoch,
    )
    if op.state is State.REQUESTED:
        evidence = _checked(context, candidate, head)
        op = ledger.advance(op.op_id, State.STAGED, evidence, base_epoch=op.base_epoch)
    _require_approval(context, ledger, op)
    made = ledger.commit(op.op_id, op.base_epoch)
    reconcile_model(ledger, context.settings, model, context.connections)
    return _result(context, made, verdict="done")


def _candidate(context: StepContext, ledger: Ledger, version: int) -> Candidate:
    """The version as it was registered; what the ledger knows of its digest must agree."""
    settings, model = context.settings, context.spec.name
    registry = MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts)
    registered = registry.get_version(model, version)
    if registered is None:
        raise PolicyRefused(f"{model} has no registered version {version}")
    if DUPLICATE_TAG in registered.tags:
        raise PolicyRefused(
            f"{model} version {version} repeats version {registered.tags[DUPLICATE_TAG]}",
            remedy=f"Adopt version {registered.tags[DUPLICATE_TAG]}.",
        )
    bundles = KeptBundles(settings, model, registry)
    candidate = _read(registered, str(bundles.place(registered.digest)))
    barred = ledger.is_quarantined(model, candidate.digest)
    if barred is not None:
        raise PolicyRefused(f"{model} version {version} is quarantined: {barred}")
    known = [op.candidate for op in ledger.ops(model) if op.candidate.version == version]
    for name in ("digest", "run_key", "cutoff", "train_dataset", "eval_dataset"):
        if known and getattr(known[0], name) != getattr(candidate, name):
            raise PolicyRefused(
                f"{model} version {version} was known to the ledger with another {name}: its tags "
                "in MLflow were changed",
                remedy="Restore the tags, or train and register the model again.",
            )
    bundles.ensure(candidate.digest, registered)
    return candidate


def _read(registered: RegisteredVersion, bundle: str) -> Candidate:
    tags = registered.tags
    given: dict[str, Any] = {name: tags.get(f"ferryman.{name}", "") for name in _TAGS}
    try:
        return Candidate(
            **given,
            version=registered.version,
            digest=registered.digest,
            bundle=bundle,
            # Versions are numbered in the order of registration: that is the training sequence.
            sequence=registered.version,
            run_key=registered.run_key,
            mlflow_run_id=tags.get(TRAINING_RUN_TAG, ""),
            reason="adopted",
        )
    except ValidationError as error:
        wrong = ", ".join(str(detail["loc"][0]) for detail in error.errors() if detail["loc"])
        raise PolicyRefused(
            f"{registered.model} version {registered.version} was not registered by Ferryman: its "
            f"tags say nothing right of {wrong}",
            remedy="Only versions that the step `register` made are released.",
        ) from error


def _checked(context: StepContext, candidate: Candidate, head: Head) -> dict[str, JsonValue]:
    """The gate's figures, of which the thresholds alone decide; then a try on the server."""
    evidence = judge_candidate(context, candidate, head)
    if not evidence["intervals"]:
        raise GateRefused(f"nothing can be said of version {candidate.version}: {evidence['text']}")
    # The gate's opinions begin with those on the thresholds, one each, in their order.
    opinions = evidence["opinions"][: len(context.spec.gates.thresholds)]
    missed = [text for outcome, text in opinions if outcome != "passed"]
    if missed:
        raise GateRefused(
            f"version {candidate.version} may not serve, whoever asks: {'; '.join(missed)}",
            remedy="Train a better one; or change gates.thresholds, which is seen by reviewers.",
        )
    ensure_deployed(context.settings, context.spec.serving.server)
    with model_server_of(context.settings, context.spec, context.connections) as server:
        server.check(context.spec.name, candidate.bundle, candidate.digest)
    return {
        "digest": candidate.digest,
        "left": head.version,
        "gate": evidence,
        "requires": {"approval": context.spec.rollout.approval is not None},
    }


def _require_approval(context: StepContext, ledger: Ledger, op: Op) -> None:
    """Another person's word, where the declaration asks for one of every release."""
    approval = context.spec.rollout.approval
    if approval is None or was_in(ledger, op, State.APPROVED) is not None:
        return
    refused = was_in(ledger, op, State.REJECTED)
    if refused is not None:
        raise GateRefused(
            f"version {op.candidate.version} was rejected by {refused.actor}: {refused.reason}"
        )
    raise PolicyRefused(
        f"{op.model} version {op.candidate.version} is ready to be adopted, and waits for the "
        "answer of an approver",
        remedy=f"One of {', '.join(approval.approvers)}, but not {op.actor}, runs: ferryman "
        f'approve --model {op.model} --version {op.candidate.version} --reason "..."; then adopt '
        "again.",
    )


def _result(context: StepContext, head: Head, *, verdict: Verdict) -> StepResult:
    done = "is champion already" if verdict == "not_needed" else "is adopted"
    return context.result(
        text=f"version {head.version} {done} (epoch {head.epoch})",
        verdict=verdict,
        outputs={"epoch": head.epoch, "version": head.version, "digest": head.digest},
    )
