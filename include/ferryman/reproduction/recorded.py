"""Brings back what a registered version was made from: bundle, recipe, data, code."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ferryman.data.versions.dataset import DatasetStore
from ferryman.data.versions.listing import FoundVersion
from ferryman.data.versions.publications import Publications
from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.data.versions.verification import verify_version
from ferryman.errors import FerrymanError, IntegrityBroken
from ferryman.ledger.ledger import Ledger
from ferryman.registry.registry import TRAINING_RUN_TAG, RegisteredVersion, Registry
from ferryman.registry.tracking import Tracker
from ferryman.reproduction.findings import CannotReproduce, Finding
from ferryman.runtime.bundle import verify
from ferryman.runtime.object_store import ObjectStore
from ferryman.spec.loader import files_digest, folder_files, load_model
from ferryman.spec.model import DeclaredModel
from ferryman.spec.windows import Window
from ferryman.steps.training_record import CODE, TRAINING
from ferryman.training.recipe import RECIPE, Recipe, read_recipe

_SHOWN = 5


def fetch_bundle(
    registry: Registry, ledger: Ledger, version: RegisteredVersion, target: Path
) -> Finding:
    """The version's bundle, verified byte by byte, and the registry's word against the ledger's."""
    for op in ledger.ops(version.model):
        candidate = op.candidate
        if candidate.version == version.version and (
            (candidate.digest, candidate.run_key) != (version.digest, version.run_key)
        ):
            raise CannotReproduce(
                f"registry: digest {version.digest[:12]} and run key {version.run_key[:12]}, the "
                f"ledger knows {candidate.digest[:12]} and {candidate.run_key[:12]}",
            )
    target.mkdir()
    try:
        registry.download(version, target)
        verify(target, digest=version.digest)
    except IntegrityBroken as error:
        raise CannotReproduce(f"registry: {error.text}") from error
    return Finding("registry", True, f"bundle {version.digest[:12]} is whole")


def fetch_recipe(tracker: Tracker, version: RegisteredVersion, target: Path) -> Recipe:
    """What went into the version, by the run that made it; its run key must be the version's."""
    target.mkdir()
    run = version.tags.get(TRAINING_RUN_TAG, "")
    if not run or tracker.read(run) is None or not tracker.fetch(run, TRAINING, target):
        raise CannotReproduce(
            f"recipe: MLflow run {run or '(none is named)'} does not hold it (any more)",
            remedy="Train anew: what the version was trained with is not kept.",
        )
    try:
        recipe = read_recipe((target / RECIPE).read_bytes(), f"run {run}")
    except (OSError, IntegrityBroken) as error:
        raise CannotReproduce(f"recipe: {str(error)[:500]}") from error
    if (recipe.model, recipe.run_key) != (version.model, version.run_key):
        raise CannotReproduce(
            f"recipe: it is of {recipe.model} with run key {recipe.run_key[:12]}, the version has "
            f"{version.run_key[:12]}",
        )
    return recipe


def check_data(objects: ObjectStore, recipe: Recipe) -> list[Finding]:
    """Both datasets, read through byte by byte; windows that are missing or altered are named."""
    found = []
    for subject, name in (
        ("training data", recipe.train_dataset),
        ("evaluation data", recipe.eval_dataset),
    ):
        done = verify_version(objects, recipe.model, FoundVersion("dataset", name))
        if done.broken:
            windows = _windows_of(objects, recipe.model, name, done.texts)
            more = f", and {done.broken - 1} more" if done.broken > 1 else ""
            text = f"dataset {name[:12]}{windows}: {done.texts[0]}{more}"
            raise CannotReproduce(
                f"{subject}: {text}",
                remedy="Ingest the windows again from the same source: equal bytes give equal ids.",
            )
        text = f"dataset {name[:12]}: {done.snapshots} windows, {done.size} bytes"
        found.append(Finding(subject, True, text))
    return found


def _windows_of(objects: ObjectStore, model: str, dataset: str, texts: Sequence[str]) -> str:
    """The windows whose snapshots the texts name, as far as anybody remembers them."""
    try:
        version = DatasetStore(objects).get(dataset, model)
    except IntegrityBroken:
        return ""
    ids = {*version.snapshot_ids, *version.label_snapshot_ids}
    publications, snapshots = Publications(objects), SnapshotStore(objects)
    hit: list[Window] = []
    for window in publications.windows(model):
        published = {publication.id for publication in publications.history(model, window)} & ids
        for name in published:
            try:
                files = [file.key for file in snapshots.get(model, str(name)).entry.files.values()]
            except IntegrityBroken:
                files = []
            if any(part in text for part in [str(name), *files] for text in texts):
                hit.append(window)
    shown = ", ".join(str(window) for window in hit[:_SHOWN])
    return f", windows {shown}" + (" and more" if len(hit) > _SHOWN else "") if hit else ""


def restore_code(
    tracker: Tracker,
    version: RegisteredVersion,
    recipe: Recipe,
    declared: DeclaredModel | None,
    target: Path,
) -> tuple[DeclaredModel, Finding]:
    """The model as it was declared then: the folder of today where it is the same, else restored.

    What is restored must have the digest that is part of the run key, so that nobody who may write
    to the tracker alone can put other code there.
    """
    if declared is not None and declared.digest == recipe.code_digest:
        return declared, Finding("model folder", True, f"sha256 {recipe.code_digest[:12]}")
    folder = target / recipe.model
    folder.mkdir(parents=True)
    if not tracker.fetch(version.tags.get(TRAINING_RUN_TAG, ""), CODE, folder):
        raise CannotReproduce(
            f"model folder: sha256 {recipe.code_digest[:12]} is not what is declared, and the run "
            "kept no copy",
            remedy=f"Check out commit {recipe.code_version}, then run again.",
        )
    then = dict(folder_files(folder))
    digest = files_digest(then.items())
    if digest != recipe.code_digest:
        raise CannotReproduce(
            f"model folder: the run's copy has sha256 {digest[:12]}, expected "
            f"{recipe.code_digest[:12]}",
        )
    now = dict(folder_files(declared.folder)) if declared is not None else None
    try:
        model = load_model(folder)
    except FerrymanError as error:
        raise CannotReproduce(
            f"model folder: the declaration of then is none any more: {error.text[:500]}",
            remedy=f"Check out commit {recipe.code_version}, then run again.",
        ) from error
    text = f"{_first_file(then, now)}; restored from the run"
    return model, Finding("model folder", False, text)


def _first_file(then: Mapping[str, bytes], now: Mapping[str, bytes] | None) -> str:
    if now is None:
        return "the model is not declared now"
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            how = "is new" if name not in then else "is gone" if name not in now else "differs"
            return f"{name} {how}"
    return "its files are ordered otherwise"
