"""The bundle of a released version, however old: verified, restored, or told what is left."""

from pathlib import Path

from ferryman.errors import DependencyUnavailable, IntegrityBroken, PolicyRefused
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import State
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.registry.registry import RegisteredVersion
from ferryman.settings import Settings
from ferryman.steps.kept_bundles import KeptBundles


def verified_bundle(settings: Settings, model: str, version: int, digest: str) -> Path:
    """The folder of a version's bundle, restored where it is missing or damaged.

    Raises IntegrityBroken (exit 7), with what is wrong with each copy and which other versions
    there are, where none verifies; PolicyRefused (exit 9) for one that nobody signed.
    """
    registry = MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts)
    bundles = KeptBundles(settings, model, registry)
    if _is_in_order(bundles, digest):
        return bundles.place(digest)
    registered, away = _registered(registry, model, version)
    try:
        bundles.ensure(digest, registered)
    except IntegrityBroken as error:
        raise IntegrityBroken(
            f"version {version} of {model} cannot be loaded: {error.text}{away}",
            remedy=f"{error.remedy} Versions in order here: {_there(settings, bundles, model)}.",
        ) from error
    return bundles.place(digest)


def _is_in_order(bundles: KeptBundles, digest: str) -> bool:
    try:
        bundles.verify(digest)
    except (IntegrityBroken, PolicyRefused):  # `ensure` tells them apart
        return False
    return True


def _registered(
    registry: MlflowRegistry, model: str, version: int
) -> tuple[RegisteredVersion | None, str]:
    """The version in MLflow; where it is not to be had, why."""
    try:
        found = registry.get_version(model, version)
    except DependencyUnavailable as error:
        return None, f"; MLflow cannot be asked: {error.text}"
    return found, "" if found is not None else f"; MLflow has no version {version} any more"


def _there(settings: Settings, bundles: KeptBundles, model: str) -> str:
    """The released versions whose bundles verify, in words."""
    found = []
    history = Ledger(settings.ledger_url).history(model)
    for op in {op.candidate.version: op for op in history if op.state is State.COMMITTED}.values():
        if _is_in_order(bundles, op.candidate.digest):
            found.append(op.candidate.version)
    return ", ".join(map(str, sorted(found))) or "none"
