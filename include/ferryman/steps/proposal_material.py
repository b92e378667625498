"""What a proposal tells of slices, data and monitoring; what is not on record is said to be so."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ferryman.data.versions.diff import VersionDiff, diff_versions
from ferryman.data.versions.profiled_versions import profiled_version
from ferryman.errors import FerrymanError
from ferryman.evaluation.document import Cell, Section, Table, Text
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Op
from ferryman.runtime.files import read_json, resolve_inside
from ferryman.runtime.run_store import RESULT, read_result
from ferryman.spec.metrics import LOWER_IS_BETTER
from ferryman.steps.contract import StepContext

_MOST_COLUMNS, _MOST_NAMES = 15, 10


def slice_section(
    context: StepContext, training_run: str, judged: Mapping[str, Any]
) -> list[Section]:
    """Where the candidate is worst, of the slices that its report looked at."""
    report = _report(context, training_run)
    metric = (judged.get("difference") or {}).get("metric") or context.spec.gates.champion.metric
    known = [
        (float(one["metrics"][metric]), one)
        for one in (report or {}).get("slices") or []
        if one.get("enough") and one.get("metrics", {}).get(metric) is not None
    ]
    if not known:
        return [Section("Worst slice", [Text("No slice with enough rows was measured.")])]
    furthest = max if metric in LOWER_IS_BETTER else min
    value, worst = furthest(known, key=lambda found: found[0])
    interval = (worst.get("intervals") or {}).get(metric)
    shown = f", in [{interval['low']:.4g}, {interval['high']:.4g}]" if interval else ""
    name = f"{worst['column']} = {worst['value']}"[:200].encode(errors="replace").decode()
    words = f"{name}: {metric} {value:.4g}{shown} (n {int(worst['rows']):,})"
    return [Section("Worst slice", [Text(f"{words}, of {len(known)} slices.")])]


def data_section(context: StepContext, ledger: Ledger, op: Op, base: int) -> Section:
    """How the candidate's training data differs from the champion's."""
    before = ledger.commit_of_epoch(op.model, base)
    old, new = before.candidate.train_dataset if before else "", op.candidate.train_dataset
    if not old or not new:
        return Section("Training data", [Text("There is no champion's to compare it with.")])
    if old == new:
        return Section("Training data", [Text("The same dataset as the champion's.")])
    try:
        versions = [profiled_version(context.data_store, op.model, name) for name in (old, new)]
        diff = diff_versions(*versions)
    except FerrymanError as error:
        return Section("Training data", [Text(f"Not compared: {error.text}"[:400])])
    return Section("Training data", [Text(_words(diff)), *_columns(diff)])


def monitoring_section(context: StepContext) -> Section:
    """What the newest monitoring found: quality, and the inputs that drifted."""
    root = context.settings.runs_root / context.spec.name / "monitoring"
    files = [(file.stat().st_mtime, file) for file in root.glob(f"*/monitor/{RESULT}")]
    if not files:
        return Section("Monitoring", [Text("Nothing was monitored yet.")])
    result = read_result(max(files)[1])
    drifted = result.outputs.get("drifted")
    names = [str(name) for name in drifted] if isinstance(drifted, list) else []
    shown = ", ".join(names[:_MOST_NAMES]) or "none"
    return Section(
        "Monitoring", [Text(result.text[:400]), Text(f"Inputs that drifted: {shown}"[:400])]
    )


def _words(diff: VersionDiff) -> str:
    return (
        f"{len(diff.changed)} of {len(diff.columns)} columns changed; rows {diff.rows[0]:,} -> "
        f"{diff.rows[1]:,}, windows {diff.windows[0]} -> {diff.windows[1]}; {diff.basis}."
    )


def _columns(diff: VersionDiff) -> list[Table]:
    rows: list[tuple[Cell, ...]] = [
        (one.column[:80], one.verdict, *map(_finite, (one.effect, one.p_value, one.shift)))
        for one in diff.changed[:_MOST_COLUMNS]
    ]
    head = ("Column", "Verdict", "Effect", "p", "Shift, standard deviations")
    return [Table(head, rows)] if rows else []


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _report(context: StepContext, training_run: str) -> dict[str, Any] | None:
    """The figures of the candidate's training report; None where there is none."""
    told = context.request.results.get("report")
    file = Path(told.artifacts.get("report.json", "")) if told else None
    if file is None and training_run:
        try:
            root = context.settings.runs_root / context.spec.name / "training"
            file = resolve_inside(root, training_run) / "report" / "report.json"
        except ValueError:
            return None
    if file is None or not file.is_file():
        return None
    found = read_json(file)
    return found if isinstance(found, dict) else None
