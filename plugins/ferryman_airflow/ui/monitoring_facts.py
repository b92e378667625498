"""What a model's monitoring page shows: the newest report of `monitor`, and the last diagnosis."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ferryman.monitoring.diagnosis_place import DIAGNOSES
from ferryman.runtime.files import read_json
from ferryman.settings import Settings

_WORDS = 400  # characters of any one text
_MOST = 200  # rows of any one table
_WIDE, _HIGH, _EDGE = 640.0, 140.0, 6.0  # of the picture, in its own units


@dataclass(frozen=True)
class Line:
    """A line of the picture: its points as SVG takes them, in pieces where days are missing."""

    name: str
    pieces: Sequence[str]


@dataclass(frozen=True)
class Picture:
    """The metric by event day: lines between the least and the largest value."""

    low: str
    high: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class DiagnosisFacts:
    """What the last alarm was put down to, the likeliest culprit first; `trouble` where its file is
    none. `link` is the path of the run's page, or empty."""

    window: str = ""
    title: str = ""
    since: str = ""
    link: str = ""
    alarms: list[str] = field(default_factory=list)
    culprits: list[dict[str, str]] = field(default_factory=list)
    trouble: str = ""


@dataclass(frozen=True)
class MonitoringFacts:
    """The newest report in rows of text, newest days and worst slices first.

    `trouble` says why there is nothing to show; `worse` what calls for attention.
    """

    window: str = ""
    quality: str = ""
    estimate: str = ""
    worse: list[str] = field(default_factory=list)
    events: list[dict[str, str]] = field(default_factory=list)
    slices: list[dict[str, str]] = field(default_factory=list)
    groups: list[dict[str, str]] = field(default_factory=list)
    operations: list[dict[str, str]] = field(default_factory=list)
    inputs: list[dict[str, str]] = field(default_factory=list)
    picture: Picture | None = None
    diagnosis: DiagnosisFacts | None = None
    trouble: str = ""


def monitoring_facts(settings: Settings, model: str) -> MonitoringFacts:
    """What the newest night said of a model."""
    folder = settings.monitoring_root / model
    files = sorted((folder / "reports").glob("*.json"))
    if not files:
        return MonitoringFacts(trouble="Nothing was monitored yet.")
    try:
        return replace(_facts(read_json(files[-1])), diagnosis=_last_diagnosis(folder))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return MonitoringFacts(
            trouble=f"{files[-1].name} is no report of monitor: {error}"[:_WORDS]
        )


def _last_diagnosis(folder: Path) -> DiagnosisFacts | None:
    files = sorted((folder / DIAGNOSES).glob("*.json"))
    if not files:
        return None
    try:
        return _diagnosis(read_json(files[-1]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return DiagnosisFacts(trouble=f"{files[-1].name} is no diagnosis: {error}"[:_WORDS])


def _diagnosis(said: dict[str, Any]) -> DiagnosisFacts:
    return DiagnosisFacts(
        window=_text(said["window"]),
        title=_text(said["title"]),
        since=_text(said["last_good"] or "the training data"),
        link=_own_path(str(said.get("link") or "")),
        alarms=[_text(one) for one in said["alarms"][:_MOST]],
        culprits=_rows(said["culprits"], _culprit),
    )


def _culprit(one: dict[str, Any]) -> dict[str, str]:
    return {name: _text(one[name]) for name in ("name", "text", "remedy")}


def _own_path(link: str) -> str:
    """Airflow's own page below whatever address this page is read at."""
    path = urlsplit(link).path
    # Two slashes of either kind would name another host.
    return path if path.startswith("/") and path[1:2] not in ("/", "\\") else ""


def _facts(report: dict[str, Any]) -> MonitoringFacts:
    events = report.get("events") or []
    window = report["window"]
    found = [*(report.get("worse") or []), *(report.get("slow") or [])]
    return MonitoringFacts(
        window=f"{window['start'][:10]} to {window['end'][:10]}",
        quality=_text(report["quality"]["text"]),
        estimate=_text(report.get("estimate_text") or ""),
        worse=[_text(one) for one in found[:_MOST]],
        events=_rows(events[::-1], _event),
        slices=_rows(_worst_first(report.get("slices") or []), _part),
        groups=_rows(_worst_first(report.get("groups") or []), _part),
        operations=_rows(report.get("operations") or [], _operation),
        inputs=_rows(report.get("inputs") or [], _input),
        picture=_picture(events),
    )


def _rows(
    entries: Sequence[dict[str, Any]], made: Callable[[dict[str, Any]], dict[str, str]]
) -> list[dict[str, str]]:
    return [made(one) for one in entries[:_MOST]]


def _worst_first(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    order = {"worse": 0, "ok": 1}
    return sorted(entries, key=lambda one: order.get(str(one["outcome"]), 2))


def _event(day: dict[str, Any]) -> dict[str, str]:
    return {
        "day": _text(day["day"]),
        "predicted": f"{day['predicted']:,}",
        "labelled": f"{day['labelled']:,}",
        "coverage": _share(day["coverage"]),
        "figure": _figure(day["value"], day["low"], day["high"]) or _text(day["text"]),
        "estimate": _number(day["estimate"]),
        "state": "final" if day["mature"] else "labels may come",
        "revision": str(day["revision"]),
    }


def _part(part: dict[str, Any]) -> dict[str, str]:
    return {
        "column": _text(part["column"]),
        "value": _text(part["value"]),
        "n": f"{part['n']:,}",
        "labelled": f"{part['labelled']:,}",
        "metric": _text(part["metric"]),
        "figure": _figure(part["figure"], part["low"], part["high"]),
        "before": _number(part["before"]),
        "outcome": _text(part["outcome"]).replace("_", " "),
    }


def _operation(one: dict[str, Any]) -> dict[str, str]:
    seconds = {name: one[name] for name in ("p50", "p95", "p99")}
    shown = {
        name: "" if value is None else f"{value * 1000:,.1f} ms" for name, value in seconds.items()
    }
    return {
        "version": str(one["version"]),
        "variant": _text(one["variant"]),
        "requests": f"{one['requests']:,}",
        "rows": f"{one['rows']:,}",
        **shown,
        "outcome": _text(one["outcome"]).replace("_", " "),
    }


def _input(one: dict[str, Any]) -> dict[str, str]:
    unseen = ", ".join(_text(value)[:60] for value in one["unseen"])
    return {
        "column": _text(one["column"]),
        "nulls": _share(one["nulls"]),
        "nulls_before": _share(one["nulls_before"]),
        "range": _span(one["low"], one["high"]),
        "range_before": _span(one["low_before"], one["high_before"]),
        "unseen": unseen,
        "unseen_share": _share(one["unseen_share"]) if unseen else "",
    }


def _picture(events: Sequence[dict[str, Any]]) -> Picture | None:
    """The metric and its estimate by day; None where fewer than two days have a figure."""
    drawn = {name: [day[name] for day in events] for name in ("value", "estimate")}
    known = [value for values in drawn.values() for value in values if value is not None]
    if sum(value is not None for value in drawn["value"]) < 2:
        return None
    low, high = min(known), max(known)
    lines = [Line(name, _pieces(values, low, high)) for name, values in drawn.items()]
    return Picture(_number(low), _number(high), lines)


def _pieces(values: Sequence[float | None], low: float, high: float) -> list[str]:
    step, span = _WIDE / max(1, len(values) - 1), (high - low) or 1.0
    pieces: list[list[str]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            pieces.append([])
            continue
        down = _EDGE + (_HIGH - 2 * _EDGE) * (1 - (value - low) / span)
        pieces[-1].append(f"{place * step:.1f},{down:.1f}")
    return [" ".join(points) for points in pieces if points]


def _figure(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return ""
    return _number(value) + ("" if low is None else f" [{_number(low)}, {_number(high)}]")


def _span(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.6g} to {high:.6g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _text(value: object) -> str:
    return str(value)[:_WORDS]
