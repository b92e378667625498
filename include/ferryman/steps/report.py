"""Writes the report of a training, and the model's card: what is known, and what is not.

The page needs no network and no script, so it can be kept with the run, mailed and printed.
"""

import logging
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from ferryman.data.versions.dataset_catalogue import DatasetCatalogue
from ferryman.evaluation.document import Document, Section, Text
from ferryman.evaluation.model_card import render_markdown, without_pictures
from ferryman.evaluation.report_page import render_html
from ferryman.registry.mlflow_tracking import MlflowTracker
from ferryman.runtime.files import json_bytes, write_atomic
from ferryman.runtime.messages import StepResult
from ferryman.runtime.run_store import CARD_PAGE, REPORT_PAGE
from ferryman.steps.contract import StepContext, StepParams
from ferryman.steps.report_material import Material
from ferryman.steps.report_parts import Part, measured_parts
from ferryman.steps.report_record import (
    about_section,
    bounds_section,
    cost_section,
    data_section,
    lineage_section,
    parameters_section,
)

logger = logging.getLogger(__name__)

REPORT_TAG = "ferryman.report"
_FOLDER = "report"  # of the run's artifacts
# The measured parts that a card tells of; the report has all.
_ON_CARD = ("figures", "slices", "fairness", "behaviour")


class Params(StepParams):
    """No parameters: what is reported is declared in `evaluation` and `gates`."""


def run(context: StepContext) -> StepResult:
    """Measure what the gate does not need, write the pages, and remember them in MLflow."""
    material = Material(context)
    parts = list(measured_parts(material))
    limits = _limits(material, parts)
    version = context.earlier("register").outputs["version"]
    files = _files(context, parts, limits)
    for name, content in files.items():
        write_atomic(context.folder / name, content)
    metrics = {name: value for part in parts for name, value in part.metrics.items()}
    _remember(context, files, metrics)
    there = [part.name for part in parts if part.section is not None]
    return context.result(
        text=f"report of version {version}: {', '.join(there)}; {len(limits)} limits",
        outputs={"version": version, "parts": list(there), "limits": list(limits)},
        metrics=metrics,
        artifacts={name: str(context.folder / name) for name in files},
    )


def _files(context: StepContext, parts: Sequence[Part], limits: Sequence[str]) -> dict[str, bytes]:
    """Every file of the report by name."""
    spec, version = context.spec, context.earlier("register").outputs["version"]
    title = f"{spec.name}, version {version}"
    bad = Section("Limits", [Text(limit) for limit in limits])
    report = Document(title, spec.description, _report(context, parts, bad))
    card = Document(f"Model card: {title}", spec.description, _card(context, parts, bad))
    evidence: dict[str, JsonValue] = {
        "model": spec.name,
        "version": version,
        "limits": list(limits),
        **{part.name: part.evidence for part in parts if part.evidence is not None},
    }
    files = {
        REPORT_PAGE: render_html(report),
        CARD_PAGE: render_html(card),
        "card.md": render_markdown(card).encode("utf-8", errors="replace"),
    }
    # Attributions of every row are a file of their own: all else is small.
    explanation = evidence.pop("explanation", None)
    if isinstance(explanation, dict):
        files["explanation.json"] = json_bytes(explanation)
        small = ("unit", "method", "background_rows", "base", "importance", "largest_gap")
        evidence["explanation"] = {name: explanation[name] for name in small}
    return {**files, "report.json": json_bytes(evidence)}


def _report(context: StepContext, parts: Sequence[Part], limits: Section) -> list[Section]:
    return [
        *(part.section for part in parts if part.section is not None),
        limits,
        data_section(context),
        parameters_section(context),
        bounds_section(context),
        cost_section(context),
        lineage_section(context),
    ]


def _card(context: StepContext, parts: Sequence[Part], limits: Section) -> list[Section]:
    shown = [part.section for part in parts if part.section and part.name in _ON_CARD]
    return [
        about_section(context),
        data_section(context),
        *(without_pictures(section) for section in shown),
        limits,
        bounds_section(context),
        parameters_section(context),
        lineage_section(context),
    ]


def _limits(material: Material, parts: Sequence[Part]) -> list[str]:
    """What was not measured, and why; and what the figures do not say."""
    context, spec = material.context, material.spec
    found = [part.missing for part in parts if part.missing]
    figures = context.earlier("evaluate").metrics
    lacking = [name for name in material.measures.names if figures.get(name) is None]
    if lacking:
        found.append(f"Figures that cannot be had on these rows: {', '.join(lacking)}.")
    dataset = str(context.earlier("train").outputs["eval_dataset"])
    entry = DatasetCatalogue(context.data_store).entry(spec.name, dataset)
    when = f" of {entry.event_window}" if entry else ""
    found.append(
        f"All figures are of {len(material.frame):,} labelled rows{when}: of other times nothing "
        "is known, nor of rows whose outcome never became known."
    )
    return found


def _remember(
    context: StepContext, files: Mapping[str, bytes], metrics: Mapping[str, float | None]
) -> None:
    settings = context.settings
    tracker = MlflowTracker(settings.mlflow_uri, settings.mlflow_artifacts, actor=settings.actor)
    run_id = str(context.earlier("train").outputs["mlflow_run_id"])
    tracker.log_files(run_id, files, _FOLDER)
    tracker.log(run_id, metrics=metrics, tags={REPORT_TAG: f"{_FOLDER}/{REPORT_PAGE}"})
