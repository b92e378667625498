"""The bad model of a fire drill: made from the champion, remembered by its run, then removed."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ferryman.errors import IntegrityBroken, PolicyRefused
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Candidate, Head, Op
from ferryman.packaging.spoiled_bundle import SpoiledKind, write_spoiled_bundle
from ferryman.runtime.bundle import GOLDEN, Golden
from ferryman.runtime.bundle_signing import sign_bundle
from ferryman.runtime.files import read_json, write_json
from ferryman.runtime.old_runs import drill_folder
from ferryman.spec.model import DeclaredModel
from ferryman.spec.rollout import StageSpec
from ferryman.steps.contract import StepContext
from ferryman.steps.drill_requests import Row

_STATE = "drill.json"


def drilled(model: DeclaredModel) -> DeclaredModel:
    """The model with a rollout of one stage that can fail, and lasts longer than the drill.

    Limits are those of its releases.
    """
    rollout = model.spec.rollout
    longer = rollout.drill.within + timedelta(minutes=10)
    stage = StageSpec(weight=rollout.drill.weight, hold=longer, patience=longer)
    labels = rollout.labels.model_copy(update={"require": False})
    update = {"strategy": "canary", "stages": [stage], "approval": None, "labels": labels}
    changed = model.spec.model_copy(update={"rollout": rollout.model_copy(update=update)})
    return model.model_copy(update={"spec": changed})


def make_bad_model(
    context: StepContext, ledger: Ledger, head: Head, kind: SpoiledKind
) -> Candidate:
    """Write a spoiled copy of the champion's bundle, and remember whose drill it is.

    Raises PolicyRefused (exit 9) where it must be signed, and there is no key here to do it.
    """
    now = datetime.now(UTC)
    settings = context.settings
    if settings.signing_public_key is not None and settings.signing_key is None:
        raise PolicyRefused(
            "servers take signed bundles only, and this process has no key to sign the drill's",
            remedy="Set FERRYMAN_SIGNING_KEY where drills run, as where models are packaged.",
        )
    target = drill_folder(settings.bundles_root, head.model, f"{now:%Y%m%dT%H%M%S%f}")
    manifest = write_spoiled_bundle(Path(head.bundle), head.digest, kind, target)
    if settings.signing_key is not None:
        sign_bundle(target, settings.signing_key)
    champion = _champion(ledger, head)
    candidate = Candidate(
        version=0,
        digest=manifest.digest,
        bundle=str(target),
        cutoff=now.replace(microsecond=0).isoformat(),
        sequence=now.microsecond,
        run_key=f"drill-{kind}",
        train_dataset=champion.train_dataset,
        eval_dataset=champion.eval_dataset,
        code_version=champion.code_version,
        reason=f"a {kind} copy of version {head.version}, made to be caught",
    )
    write_json(context.folder / _STATE, candidate.model_dump(mode="json"))
    return candidate


def golden_rows(head: Head) -> list[Row]:
    """Rows that the champion is known to answer; IntegrityBroken (exit 7) without them."""
    file = Path(head.bundle) / GOLDEN
    try:
        return list(Golden.model_validate(read_json(file)).rows)
    except (OSError, ValueError) as error:
        raise IntegrityBroken(f"{file} cannot be read: {error}") from error


def _champion(ledger: Ledger, head: Head) -> Candidate:
    rows: list[Op] = ledger.history(head.model)
    made: Op = next(op for op in reversed(rows) if op.candidate.digest == head.digest)
    return made.candidate


def remembered(context: StepContext) -> Candidate | None:
    """The candidate of a drill that this run began and did not end."""
    file = context.folder / _STATE
    if not file.is_file():
        return None
    try:
        return Candidate.model_validate(read_json(file))
    except ValueError as error:
        raise IntegrityBroken(f"{file}: no drill is told there: {error}") from error


def known_op(ledger: Ledger, model: str, candidate: Candidate | None) -> str | None:
    """The operation of a remembered drill; None where it was never opened."""
    if candidate is None:
        return None
    found = (op.op_id for op in ledger.ops(model) if op.candidate == candidate)
    return next(found, None)


def clear(context: StepContext) -> None:
    """Remove the bad bundle of this run; the ledger keeps what became of it."""
    candidate = remembered(context)
    if candidate is not None:
        shutil.rmtree(candidate.bundle, ignore_errors=True)
        (context.folder / _STATE).unlink(missing_ok=True)
