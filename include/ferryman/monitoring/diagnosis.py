"""Names what an alarm most likely comes from: changes since the last good window, ranked. Pure.

A cause outranks what it causes: a changed query explains a column that moved, a column in another
unit explains a slice that got worse. A slice says where the loss sits and never why, so it leads
only where nothing that could have caused it changed. A weight is a rank, not a probability.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from ferryman.monitoring.diagnosis_columns import ColumnMove
from ferryman.monitoring.diagnosis_slices import BadSlice
from ferryman.monitoring.retrain_reasons import Champion, Evidence, reasons
from ferryman.spec.monitoring import MonitorSpec
from ferryman.spec.windows import Window

Kind = Literal["code", "configuration", "version", "data", "column", "slice"]

NO_CULPRIT = "nothing changed that explains it"
_COLUMNS: Mapping[str, float] = {"type": 0.9, "unit": 0.9, "nulls": 0.85, "categories": 0.7}
_MOST_OF_A_MOVE, _MOST_OF_A_SLICE = 0.65, 0.75
_WORSE_SLICE = 0.4  # how much of the loss it holds is not known
_WITH_A_MOVE = 0.95  # of a changed query, where what it gives changed too
_SHOWN = 3
_MOST_SHOWN = 160  # characters of a line's part


@dataclass(frozen=True)
class Change:
    """Something that is not as it was in the last good window.

    weight: how likely it is the cause, 0 to 1, by itself; feeds: whether it makes the columns, so
    that a column that moved is its evidence.
    """

    kind: Kind
    name: str
    text: str
    remedy: str
    weight: float
    feeds: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Culprit:
    """What may have caused an alarm: what it is, what shows it, and what to do about it."""

    kind: Kind
    name: str
    weight: float
    text: str
    remedy: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Diagnosis:
    """What is said of a window: its alarms, the last good window (None: none is on record), and
    the culprits, the likeliest first. `report` is the file of the window's report, `link` the page
    of the run that looked, where there is one."""

    model: str
    window: str
    alarms: Sequence[str]
    last_good: str | None
    culprits: Sequence[Culprit] = ()
    report: str = ""
    link: str = ""

    @property
    def title(self) -> str:
        """One line for people."""
        if not self.alarms:
            return f"{self.model} {self.window}: nothing alarms"
        first = self.culprits[0].name if self.culprits else NO_CULPRIT
        return f"{self.model} {self.window}: {first}"

    @property
    def text(self) -> str:
        """At most six lines: the alarm, what changed, what to do, what else, where to read on."""
        if not self.alarms:
            return "Nothing alarms in this window."
        since = f"since {self.last_good}" if self.last_good else "since the training data"
        more = f" (and {len(self.alarms) - 1} more)" if len(self.alarms) > 1 else ""
        lines = [f"Alarm: {_short(self.alarms[0])}{more}"]
        if not self.culprits:
            lines.append(f"Changed {since}: {NO_CULPRIT}.")
            lines.append("Remedy: read the report; ask who feeds the model and its labels.")
        else:
            first, others = self.culprits[0], self.culprits[1 : 1 + _SHOWN]
            lines.append(f"Changed {since}: {_short(first.text, 3 * _MOST_SHOWN)}")
            lines.append(f"Remedy: {first.remedy}")
            if others:
                lines.append("Also: " + "; ".join(_short(one.text) for one in others))
        if self.link:
            lines.append(f"Run: {self.link}")
        if self.report:
            lines.append(f"Report: {self.report}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """{model, window, alarms, last_good, culprits, title, text, report, link}."""
        return {
            **asdict(self),
            "alarms": list(self.alarms),
            "culprits": [asdict(one) for one in self.culprits],
            "title": self.title,
            "text": self.text,
        }


def alarms_of(report: Mapping[str, Any], spec: MonitorSpec, window: Window) -> list[str]:
    """What alarms in a stored report, in words; a key that an older report lacks says nothing."""
    quality = report.get("champion_quality") or {}
    shift = quality.get("calibration") or {}
    served = report.get("champion")
    evidence = Evidence(
        text=str(quality.get("text", "")),
        value=quality.get("value"),
        low=quality.get("low"),
        high=quality.get("high"),
        shift=shift.get("difference"),
        shift_low=shift.get("low"),
        shift_high=shift.get("high"),
    )
    champion = served and Champion(
        int(served["version"]), datetime.fromisoformat(served["cutoff"]), served["gate_value"]
    )
    found = reasons(spec, window, champion or None, evidence)
    told = [found[cause] for cause in ("quality", "calibration") if cause in found]
    drift = report.get("drift") or {}
    return [
        *told,
        *(str(one["text"]) for one in drift.get("findings", [])),
        *map(str, report.get("worse", [])),
        *map(str, report.get("slow", [])),
    ]


def rank(  # noqa: PLR0913  - everything that may be named
    changes: Sequence[Change],
    moves: Sequence[ColumnMove],
    slices: Sequence[BadSlice],
    model: str,
    day: str = "DAY",
    *,
    worse: Sequence[Mapping[str, Any]] = (),
) -> list[Culprit]:
    """The culprits, the likeliest first; `day` is the window's, for the remedy's command.

    worse: the report's own findings of slices that got worse.
    """
    found = [_of_change(change, moves) for change in changes]
    found += [_of_move(move, model, day) for move in moves]
    found += [_of_slice(one, model) for one in slices]
    named = {culprit.name for culprit in found}
    told = [_of_finding(one, model) for one in worse]
    found += [culprit for culprit in told if culprit.name not in named]
    return sorted(found, key=lambda one: -one.weight)


def _of_change(change: Change, moves: Sequence[ColumnMove]) -> Culprit:
    weight, text = change.weight, change.text
    if change.feeds and moves:
        weight = max(weight, _WITH_A_MOVE)
        text += f"; since then {moves[0].text}"
    return Culprit(change.kind, change.name, weight, text, change.remedy, change.facts)


def _of_move(move: ColumnMove, model: str, day: str) -> Culprit:
    weight = _COLUMNS.get(move.kind, _MOST_OF_A_MOVE * (0.5 + move.effect / 2))
    source = "correct it where the rows come from"
    remedy = {
        "unit": f"{source}, or convert it in features.sql, and ingest the window again: "
        f"ferryman run ingest --model {model} --window {day}",
        "type": f"{source}, and ingest the window again: "
        f"ferryman run ingest --model {model} --window {day}",
        "nulls": f"find out why the values are missing, {source}, and ingest the window again: "
        f"ferryman run ingest --model {model} --window {day}",
        "categories": "if the values are right, retrain: "
        f"ferryman run training --model {model}; if not, {source}",
        "moved": f"if the values are right, retrain: ferryman run training --model {model}",
    }[move.kind]
    name = f"column {move.column}"
    return Culprit("column", name, weight, move.text, remedy, move.as_json())


def _of_slice(one: BadSlice, model: str) -> Culprit:
    text = (
        f"slice {one.name}: a loss of {one.loss:.3f} a row, {one.loss_before:.3f} before; "
        f"{one.share:.0%} of the excess [{one.low:.0%}, {one.high:.0%}] in "
        f"{one.rows_share:.0%} of the rows (n={one.labelled})"
    )
    weight = _MOST_OF_A_SLICE * min(max(one.share, 0.0), 1.0)
    remedy = _remedy_of_slice(one.name, model)
    return Culprit("slice", f"slice {one.name}", weight, text, remedy, one.as_json())


def _of_finding(one: Mapping[str, Any], model: str) -> Culprit:
    name = f"{one['column']}={one['value']}"
    remedy, text = _remedy_of_slice(name, model), f"slice {one['text']}"
    return Culprit("slice", f"slice {name}", _WORSE_SLICE, text, remedy, dict(one))


def _remedy_of_slice(name: str, model: str) -> str:
    return (
        f"look at the labels and inputs of {name}; if they are right, retrain: "
        f"ferryman run training --model {model}"
    )


def _short(text: str, most: int = _MOST_SHOWN) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 3] + "..."
