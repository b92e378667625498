"""Makes the bundle a numbered version of the model; one canonical version a run key."""

import logging
import shutil
from pathlib import Path

from ferryman.errors import IntegrityBroken
from ferryman.packaging.bundle_writer import keep
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.registry.mlflow_tracking import MlflowTracker
from ferryman.registry.registry import TRAINING_RUN_TAG, RegisteredVersion, Registry
from ferryman.runtime.bundle import read_manifest
from ferryman.runtime.bundle_signing import verify_signed
from ferryman.runtime.messages import StepResult
from ferryman.steps.contract import StepContext, StepParams

logger = logging.getLogger(__name__)


class Params(StepParams):
    """No parameters: what is registered is what was packaged."""


def run(context: StepContext) -> StepResult:
    """Log the bundle, register it, and answer with the canonical version of the run key."""
    settings, model = context.settings, context.spec.name
    trained, packed = context.earlier("train").outputs, context.earlier("package").outputs
    bundle, digest = Path(str(packed["bundle"])), str(packed["digest"])
    verify_signed(bundle, digest=digest, public_key=settings.signing_public_key)
    run_id, key = str(trained["mlflow_run_id"]), str(trained["run_key"])
    tracker = MlflowTracker(settings.mlflow_uri, settings.mlflow_artifacts, actor=settings.actor)
    registry = MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts)
    source = tracker.log_folder(run_id, bundle, "bundle")
    tags = {
        TRAINING_RUN_TAG: run_id,
        "ferryman.run_id": context.request.run_id,
        "ferryman.reason": str(trained["reason"]),
        "ferryman.seed": str(trained["seed"]),
        **{
            f"ferryman.{name}": str(trained[name])
            for name in ("train_dataset", "eval_dataset", "cutoff", "code_version")
        },
    }
    version = registry.register(model, key, digest, source, tags)
    tracker.log(run_id, tags={"ferryman.version": str(version.version)})
    tracker.finish(run_id)
    canonical = version.tags.get(TRAINING_RUN_TAG) == run_id
    if version.digest != digest:
        bundle = _bundle_of(version, registry, context)
    return context.result(
        text=f"version {version.version} of {model}, bundle {version.digest[:12]}",
        outputs={
            "version": version.version,
            "sequence": version.version,
            "bundle": str(bundle),
            "digest": version.digest,
            "run_key": key,
            "canonical": canonical,
        },
    )


def _bundle_of(version: RegisteredVersion, registry: Registry, context: StepContext) -> Path:
    """The local, verified bundle of a version that another run registered first."""
    root, key = context.settings.bundles_root, context.settings.signing_public_key
    target = root / version.model / version.digest
    logger.info("version %d came first, with bundle %s", version.version, version.digest[:12])
    if target.is_dir():
        verify_signed(target, digest=version.digest, public_key=key)
        return target
    scratch = context.folder / "canonical"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    registry.download(version, scratch)
    manifest = read_manifest(scratch)
    if manifest.digest != version.digest:
        raise IntegrityBroken(
            f"digest mismatch: {version.source}: expected {version.digest}, got {manifest.digest}"
        )
    folder = keep(scratch, manifest, root)
    shutil.rmtree(scratch)
    verify_signed(folder, digest=version.digest, public_key=key)
    return folder
