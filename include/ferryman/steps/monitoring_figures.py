"""What the newest reports of monitoring say, as Prometheus' families.

Labels come from bounded sets: models of the ledger, declared columns, versions that answered in a
report's window. What a report does not know is left out, so that "no labels yet" is no figure
instead of a 0. Sources: the reports of `monitor`, stored decisions, the ledger and its costs.
"""

import json
import logging
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

from ferryman.ledger.costs import DONE, CostTable
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Head, State
from ferryman.monitoring.drift_findings import Kind
from ferryman.monitoring.retrain_reasons import Cause
from ferryman.runtime.files import read_json
from ferryman.settings import Settings

_LONGEST = 120  # characters of a label
_MOST = 200  # samples of one family that a model may have
_COSTS_EVERY = 60.0  # seconds: a month of costs is a query of its own
_COSTS_OF = timedelta(days=30)
_BOUNDS = ("value", "low", "high")

logger = logging.getLogger(__name__)

_HELP = {
    "quality": "Declared metric on labelled answers of the trailing window, and its interval.",
    "quality_labelled": "Answers of the trailing window whose label is known.",
    "quality_predicted": "Answers of the trailing window whose label is due.",
    "label_coverage": "Share of the answers whose label is due and known.",
    "quality_of_gate": "The champion's figure in the verdict that let it pass.",
    "quality_estimate": "Metric to be expected before labels come, and its interval.",
    "quality_estimate_error": "Mean error of that estimate on days that matured.",
    "event_day_quality": "Metric of the newest event day that has one.",
    "drift_alarm": "1 where the newest night raised an alarm of drift.",
    "drift_findings": "Findings of the newest night by kind and outcome.",
    "drifted_columns": "Columns that call for attention.",
    "drift_effect": "How far a column is from the training data, in the unit that it names.",
    "drift_psi": "Population stability index of a column against the training data.",
    "input_null_share": "Share of nulls in a column of the newest window.",
    "input_unseen_share": "Share of values of a column that training never saw.",
    "parts": "Slices and groups of the newest report by outcome.",
    "window_latency_seconds": "Quantiles of a version's requests in the report's window.",
    "window_requests": "Requests of a version in the report's window.",
    "window_end_timestamp_seconds": "End of the window that the newest report is about.",
    "report_timestamp_seconds": "When the newest report was written.",
    "report_readable": "0 where the newest report is damaged.",
    "champion_version": "Version that the ledger's head names.",
    "champion_released_timestamp_seconds": "When the champion was decided.",
    "champion_cutoff_timestamp_seconds": "Until when the champion's data reach.",
    "retrain_decisions": "Stored nightly decisions; asked is yes for those that asked to retrain.",
    "retrain_causes": "Nightly decisions that named a cause, blocked ones too.",
    "step_cpu_seconds": "CPU seconds of a step's tries in 30 days.",
    "step_seconds": "Seconds by the clock of a step's tries in 30 days.",
    "step_peak_memory_bytes": "The most that a step held at once in 30 days.",
    "step_tries": "Tries of a step in 30 days.",
}


@dataclass
class _Sheet:
    """Samples by family; what is None or no number is left out."""

    families: dict[str, Any] = field(default_factory=dict)
    _told: dict[tuple[str, str], set[tuple[str, ...]]] = field(default_factory=dict)

    def put(self, name: str, value: Any, *, model: str, **labels: object) -> None:
        """Add a sample, once; beyond _MOST of a family and model nothing more is told."""
        from prometheus_client.metrics_core import GaugeMetricFamily

        told = self._told.setdefault((name, model), set())
        values = (model, *(str(one)[:_LONGEST] for one in labels.values()))
        if value is None or math.isnan(value) or values in told or len(told) >= _MOST:
            return
        told.add(values)
        if name not in self.families:
            own = name.startswith(("champion", "retrain", "step"))
            full = f"ferryman_{name}" if own else f"ferryman_monitored_{name}"
            names = ["model", *labels]
            self.families[name] = GaugeMetricFamily(full, _HELP[name], labels=names)
        self.families[name].add_metric(values, float(value))


class MonitoringFigures:
    """Figures of every served model, read when somebody asks. Safe to ask from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._champions: dict[str, tuple[int, float, float | None]] = {}
        self._decided: dict[Path, tuple[int, dict[str, Any]]] = {}
        self._costs: dict[str, tuple[float, list[tuple[dict[str, str], dict[str, float]]]]] = {}

    def of_monitoring(self) -> Iterator[Any]:
        """Families; what cannot be read of a model is left out, and the others are told."""
        sheet = _Sheet()
        ledger = Ledger(self._settings.ledger_url)
        for head in ledger.heads():
            for read in (self._champion, self._report, self._decisions, self._spent):
                try:
                    read(sheet, ledger, head)
                except Exception:
                    part = read.__name__.strip("_")
                    logger.exception("%s: figures of %s could not be read", head.model, part)
        yield from sheet.families.values()

    def _champion(self, sheet: _Sheet, ledger: Ledger, head: Head) -> None:
        model = head.model
        sheet.put("champion_version", head.version, model=model)
        with self._lock:
            known = self._champions.get(model)
        if known is None or known[0] != head.epoch:
            known = head.epoch, *_released(ledger, head)
            with self._lock:
                self._champions[model] = known
        sheet.put("champion_cutoff_timestamp_seconds", known[1], model=model)
        sheet.put("champion_released_timestamp_seconds", known[2], model=model)

    def _report(self, sheet: _Sheet, ledger: Ledger, head: Head) -> None:  # noqa: ARG002
        """The newest report; without one there is nothing to tell."""
        files = sorted((self._settings.monitoring_root / head.model / "reports").glob("*.json"))
        if not files:
            return
        written = files[-1].stat().st_mtime
        sheet.put("report_timestamp_seconds", written, model=head.model)
        try:
            report = read_json(files[-1])
            _tell_report(_Sheet(), head.model, report)  # all of it or nothing
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("%s is no report of monitor: %r", files[-1], error)
            sheet.put("report_readable", 0, model=head.model)
            return
        _tell_report(sheet, head.model, report)
        sheet.put("report_readable", 1, model=head.model)

    def _decisions(self, sheet: _Sheet, ledger: Ledger, head: Head) -> None:  # noqa: ARG002
        model, counts = head.model, {"yes": 0, "no": 0}
        causes = dict.fromkeys(map(str, get_args(Cause)), 0)
        for file in (self._settings.monitoring_root / model / "decisions").glob("*.json"):
            decision = self._decision(file)
            counts["yes" if decision.get("asked") else "no"] += 1
            for cause in decision.get("causes") or []:
                causes[str(cause)] = causes.get(str(cause), 0) + 1
        for asked, count in counts.items():
            sheet.put("retrain_decisions", count, model=model, asked=asked)
        for cause, count in sorted(causes.items()):
            sheet.put("retrain_causes", count, model=model, cause=cause)

    def _decision(self, file: Path) -> dict[str, Any]:
        """A stored decision; read again only where the file has changed."""
        changed = file.stat().st_mtime_ns
        with self._lock:
            known = self._decided.get(file)
        if known is None or known[0] != changed:
            read = json.loads(file.read_bytes())
            known = changed, {name: read.get(name) for name in ("asked", "causes")}
            with self._lock:
                self._decided[file] = known
        return known[1]

    def _spent(self, sheet: _Sheet, ledger: Ledger, head: Head) -> None:  # noqa: ARG002
        with self._lock:
            known = self._costs.get(head.model)
        if known is None or time.monotonic() - known[0] >= _COSTS_EVERY:
            known = time.monotonic(), self._summed(head.model)
            with self._lock:
                self._costs[head.model] = known
        for names, sums in known[1]:
            outcome = names["outcome"]
            labels = {name: names[name] for name in ("model", "pipeline", "step")}
            sheet.put("step_tries", sums["tries"], **labels, outcome=outcome)
            for name in ("cpu_seconds", "seconds", "peak_memory_bytes"):
                sheet.put(f"step_{name}", sums[name], **labels, outcome=outcome)

    def _summed(self, model: str) -> list[tuple[dict[str, str], dict[str, float]]]:
        """Costs by pipeline, step, and whether the try was done, the dearest first."""
        found: dict[tuple[str, str, str], dict[str, float]] = {}
        for cost in CostTable(self._settings.ledger_url).read(model, datetime.now(UTC) - _COSTS_OF):
            outcome = "done" if cost.outcome == DONE else "failed"
            empty = dict.fromkeys(("tries", "cpu_seconds", "seconds", "peak_memory_bytes"), 0.0)
            sums = found.setdefault((cost.pipeline, cost.step, outcome), empty)
            sums["tries"] += 1
            sums["cpu_seconds"] += cost.cpu_seconds
            sums["seconds"] += cost.seconds
            sums["peak_memory_bytes"] = max(sums["peak_memory_bytes"], cost.peak_memory)
        dearest = sorted(found.items(), key=lambda one: -one[1]["cpu_seconds"])
        return [
            ({"model": model, "pipeline": pipeline, "step": step, "outcome": outcome}, sums)
            for (pipeline, step, outcome), sums in dearest
        ]


def _released(ledger: Ledger, head: Head) -> tuple[float, float | None]:
    """Until when the champion's data reach, and when it was last decided."""
    own = [op for op in ledger.history(head.model) if op.candidate.digest == head.digest]
    # After a rollback the head's order is that of the version that was left.
    cutoff = own[-1].candidate.cutoff if own else head.order_key.cutoff
    committed = [op.at.timestamp() for op in own if op.state is State.COMMITTED]
    return _seconds(cutoff), max(committed, default=None)


def _tell_report(sheet: _Sheet, model: str, report: Mapping[str, Any]) -> None:
    end = _seconds(report["window"]["end"])
    sheet.put("window_end_timestamp_seconds", end, model=model)
    for answers, key in (("all", "quality"), ("champion", "champion_quality")):
        _tell_quality(sheet, model, answers, report[key])
    champion = report.get("champion") or {}
    metric = report["quality"]["metric"]
    sheet.put("quality_of_gate", champion.get("gate_value"), model=model, metric=metric)
    estimate = report.get("estimate") or {}
    for bound in _BOUNDS:
        sheet.put("quality_estimate", estimate.get(bound), model=model, metric=metric, bound=bound)
    sheet.put("quality_estimate_error", estimate.get("error"), model=model, metric=metric)
    known = [day for day in report.get("events") or [] if day["value"] is not None]
    for bound in _BOUNDS if known else ():
        sheet.put("event_day_quality", known[-1][bound], model=model, metric=metric, bound=bound)
    _tell_drift(sheet, model, report)
    _tell_inputs(sheet, model, report)
    _tell_operations(sheet, model, report)


def _tell_quality(sheet: _Sheet, model: str, answers: str, quality: Mapping[str, Any]) -> None:
    own, metric = {"model": model, "answers": answers}, quality["metric"]
    for bound in _BOUNDS:
        sheet.put("quality", quality[bound], **own, metric=metric, bound=bound)
    sheet.put("quality_labelled", quality["labelled"], **own)
    sheet.put("quality_predicted", quality["predicted"], **own)
    sheet.put("label_coverage", quality["coverage"], **own)


def _tell_drift(sheet: _Sheet, model: str, report: Mapping[str, Any]) -> None:
    drift, columns = report.get("drift") or {}, _most_moved(report.get("columns") or [])
    sheet.put("drift_alarm", int(bool(drift.get("alarm"))), model=model)
    sheet.put("drifted_columns", len(report["drifted"]), model=model)
    for (kind, outcome), count in sorted(_counted(drift.get("findings") or []).items()):
        sheet.put("drift_findings", count, model=model, kind=kind, outcome=outcome)
    for column in columns:
        name = column["column"]
        unit = column.get("effect_name") or "none"
        sheet.put("drift_effect", column.get("effect"), model=model, column=name, effect=unit)
        sheet.put("drift_psi", column.get("psi"), model=model, column=name)


def _most_moved(columns: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(columns, key=lambda one: -abs(one.get("effect") or 0.0))


def _counted(entries: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    counts = {(kind, outcome): 0 for kind in get_args(Kind) for outcome in ("alarm", "still")}
    for one in entries:
        names = str(one["kind"]), str(one["outcome"])
        counts[names] = counts.get(names, 0) + 1
    return counts


def _tell_inputs(sheet: _Sheet, model: str, report: Mapping[str, Any]) -> None:
    for one in report.get("inputs") or []:
        sheet.put("input_null_share", one["nulls"], model=model, column=one["column"])
        sheet.put("input_unseen_share", one["unseen_share"], model=model, column=one["column"])
    for part in ("slices", "groups"):
        counts = {"ok": 0, "worse": 0, "not_enough_labels": 0}
        for one in report.get(part) or []:
            counts[one["outcome"]] = counts.get(one["outcome"], 0) + 1
        for outcome, count in counts.items():
            sheet.put("parts", count, model=model, part=part, outcome=outcome)


def _tell_operations(sheet: _Sheet, model: str, report: Mapping[str, Any]) -> None:
    for one in report.get("operations") or []:
        own = {"model": model, "version": one["version"], "variant": one["variant"]}
        sheet.put("window_requests", one["requests"], **own)
        for name, quantile in (("p50", "0.5"), ("p95", "0.95"), ("p99", "0.99")):
            sheet.put("window_latency_seconds", one[name], **own, quantile=quantile)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


__all__ = ["MonitoringFigures"]
