"""What the Models page tells of a model, read from its stores; what cannot be read is told, too."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ferryman.data.versions.dataset_catalogue import DatasetCatalogue
from ferryman.data.versions.publications import Publication, Publications
from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.errors import FerrymanError
from ferryman.runtime.data_store import open_data_store
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.runtime.files import read_json
from ferryman.runtime.object_store import ObjectStore
from ferryman.runtime.run_store import (
    DOCS_INDEX,
    REPORT_PAGE,
    RESULT,
    data_docs_folder,
    read_result,
    report_folder,
)
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.spec.windows import Window

MOST_VERSIONS, MOST_VALIDATIONS, MOST_REPORTS = 30, 5, 10


@dataclass(frozen=True)
class PublishedVersion:
    """The published data version of one window."""

    window: str
    id: str
    rows: int
    labels: int
    dropped: int
    why: str
    change: str
    who: str
    at: datetime
    parent: str | None


@dataclass(frozen=True)
class Validation:
    """One validate run, and whether its Data Docs can be read."""

    run: str
    at: datetime
    success: bool
    windows: int
    has_docs: bool


@dataclass(frozen=True)
class Report:
    """One training that was reported on."""

    run: str
    at: datetime
    version: str
    text: str


@dataclass(frozen=True)
class ModelFacts:
    """What a model's page shows; `trouble` says why something of it is missing.

    `labels` says how the labels of the newest training rows are spread; empty before a training.
    """

    windows: int = 0
    versions: list[PublishedVersion] = field(default_factory=list)
    validations: list[Validation] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    labels: str = ""
    trouble: str = ""


def facts_of(settings: Settings, model: DeclaredModel) -> ModelFacts:
    """The newest data versions, validations and reports of a model."""
    validations = _validations(settings.runs_root / model.name / "ingest")
    reports: list[Report] = []
    try:
        reports = _reports(settings.runs_root / model.name / "training")
        objects = _objects(settings)
        windows = Publications(objects).windows(model.name)
        newest = windows[: -MOST_VERSIONS - 1 : -1]
        versions = [_version(objects, model.name, window) for window in newest]
        labels = _labels(objects, settings.runs_root / model.name / "training", model.name)
    except FerrymanError as error:
        return ModelFacts(validations=validations, reports=reports, trouble=error.text[:500])
    shown = [version for version in versions if version is not None]
    return ModelFacts(len(windows), shown, validations, reports, labels)


def newest_window(settings: Settings, model: str) -> str:
    """The newest window of a model, for a list; or why it cannot be told."""
    try:
        windows = Publications(_objects(settings)).windows(model)
    except FerrymanError as error:
        return error.text[:200]
    return f"{windows[-1].start:%Y-%m-%d}" if windows else "none yet"


def _objects(settings: Settings) -> ObjectStore:
    return open_data_store(settings, DeclaredConnections(settings))


def _version(objects: ObjectStore, model: str, window: Window) -> PublishedVersion | None:
    published = Publications(objects).current(model, window)
    if published is None or published.id is None:
        return None
    entry = SnapshotStore(objects).get(model, published.id).entry
    return PublishedVersion(
        window=f"{window.start:%Y-%m-%d}",
        id=published.id,
        rows=entry.rows,
        labels=entry.labels,
        dropped=sum(use.dropped for use in entry.sources.values()),
        why=published.reason,
        change=published.change,
        who=_who(published, entry.actor),
        at=published.at,
        parent=published.parent,
    )


def _labels(objects: ObjectStore, runs: Path, model: str) -> str:
    """How the labels of the newest training are spread, where its dataset is still kept."""
    results = [(file.stat().st_mtime, file) for file in runs.glob(f"*/train/{RESULT}")]
    if not results:
        return ""
    dataset = read_result(max(results)[1]).outputs.get("train_dataset")
    entry = DatasetCatalogue(objects).entry(model, str(dataset))
    return entry.label_words if entry else ""


def _who(published: Publication, ingested_by: str) -> str:
    return published.actor or ingested_by


def _validations(runs: Path) -> list[Validation]:
    reports = [(file.stat().st_mtime, file) for file in runs.glob("*/validate/expectations.json")]
    newest = sorted(reports, reverse=True)[:MOST_VALIDATIONS]
    return [_validation(file, changed) for changed, file in newest]


def _validation(report: Path, changed: float) -> Validation:
    told = read_json(report)
    return Validation(
        run=report.parent.parent.name,
        at=datetime.fromtimestamp(changed, tz=UTC),
        success=bool(told["success"]),
        windows=len(told["windows"]),
        has_docs=(data_docs_folder(report.parent.parent) / DOCS_INDEX).is_file(),
    )


def _reports(runs: Path) -> list[Report]:
    """The newest trainings whose report can be read."""
    pages = [
        (file.stat().st_mtime, file.parent.parent)
        for file in runs.glob(f"*/report/{REPORT_PAGE}")
        if (file.parent / RESULT).is_file()
    ]
    return [_report(run, changed) for changed, run in sorted(pages, reverse=True)[:MOST_REPORTS]]


def _report(run: Path, changed: float) -> Report:
    told = read_result(report_folder(run) / RESULT)
    at = datetime.fromtimestamp(changed, tz=UTC)
    return Report(run.name, at, str(told.outputs.get("version", "")), told.text)
