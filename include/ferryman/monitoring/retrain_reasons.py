"""What calls for a retrain: reasons in words, with their figures. Pure: no clock, no files."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from ferryman.spec.metrics import LOWER_IS_BETTER, METRICS_OF
from ferryman.spec.monitoring import MonitorSpec, QualitySpec
from ferryman.spec.windows import Window

Cause = Literal[
    "person", "quality", "calibration", "drift", "estimate", "commit", "new_data", "age"
]
# Of a regression, those in the unit of the label, which its tolerance is given in then.
_IN_UNITS_OF_THE_LABEL = frozenset({"mae", "rmse"})
_SHOWN = 3


@dataclass(frozen=True)
class Champion:
    """The champion as the window saw it: version, data cut-off, and the gate's figure."""

    version: int
    cutoff: datetime
    gate_value: float | None = None


@dataclass(frozen=True)
class Evidence:
    """What is known at a window's end: figures of the served version only.

    value, low, high: the declared metric on trailing labels and its interval; shift, shift_low,
    shift_high: observed rate minus mean score; drifted: columns; found: names of all else that
    drift monitoring found (joint, scores, errors), alarms: those that it told for the first time.
    expected, expected_low, expected_high: the metric as estimated before labels came. new_rows:
    labelled rows since the champion's cut-off; code: how the declaration differs from the
    champion's; person, wish: who asks by hand, and why; report: the file that tells all of it.
    None and empty are "not known" and "nothing".
    """

    text: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    shift: float | None = None
    shift_low: float | None = None
    shift_high: float | None = None
    drifted: Sequence[str] = ()
    found: Sequence[str] = ()
    alarms: Sequence[str] = ()
    expected: float | None = None
    expected_low: float | None = None
    expected_high: float | None = None
    new_rows: int | None = None
    code: str = ""
    person: str = ""
    wish: str = ""
    report: str = ""


def reasons(
    spec: MonitorSpec,
    window: Window,
    champion: Champion | None,
    evidence: Evidence,
    untreated: Sequence[str] = (),
) -> dict[Cause, str]:
    """What calls for a retrain, in words, the strongest first.

    `untreated` are alarms of earlier windows that no retrain has followed yet.
    """
    if champion is None:
        return {}
    fell = _worse(spec.quality, champion, evidence.value, evidence.low, evidence.high)
    found: dict[Cause, str | None] = {
        "person": f"{evidence.person}: {evidence.wish}" if evidence.wish else None,
        "quality": fell,
        "calibration": _scores_shifted(spec.quality, evidence),
        "drift": _drifted(evidence, untreated),
        "estimate": None if evidence.value is not None else _expected(spec, champion, evidence),
        "commit": evidence.code if spec.retrain.on_commit and evidence.code else None,
        "new_data": _new_rows(spec.retrain.new_rows, evidence.new_rows),
        "age": _too_old(spec.retrain.max_age, window, champion),
    }
    return {cause: text for cause, text in found.items() if text is not None}


def _worse(
    spec: QualitySpec,
    champion: Champion,
    value: float | None,
    low: float | None,
    high: float | None,
) -> str | None:
    """The figure is worse than the gate's by more than the tolerance, beyond chance."""
    if value is None or champion.gate_value is None:
        return None
    if spec.metric in LOWER_IS_BETTER:
        bound = champion.gate_value + spec.tolerance
        fell = value > bound and low is not None and low > bound
    else:
        bound = champion.gate_value - spec.tolerance
        fell = value < bound and high is not None and high < bound
    if not fell:
        return None
    return (
        f"{spec.metric} {value:.4f}, the gate saw {champion.gate_value:.4f} "
        f"(tolerance {spec.tolerance:g})"
    )


def _expected(spec: MonitorSpec, champion: Champion, evidence: Evidence) -> str | None:
    found = evidence.expected, evidence.expected_low, evidence.expected_high
    text = _worse(spec.quality, champion, *found)
    return None if text is None else f"no labels yet, an estimate of {text}"


def _scores_shifted(spec: QualitySpec, evidence: Evidence) -> str | None:
    """The mean score misses the observed rate by more than the tolerance, beyond chance.

    A tolerance that is given in another unit than the score says nothing of it.
    """
    shift, low, high = evidence.shift, evidence.shift_low, evidence.shift_high
    if shift is None or low is None or high is None or low <= 0 <= high:
        return None
    numbers = spec.metric in METRICS_OF["regression"]
    if abs(shift) <= spec.tolerance or (numbers and spec.metric not in _IN_UNITS_OF_THE_LABEL):
        return None
    observed = "mean label" if numbers else "observed rate"
    return f"{observed} minus mean score is {shift:+.4f} [{low:+.4f}, {high:+.4f}]"


def _drifted(evidence: Evidence, untreated: Sequence[str]) -> str | None:
    columns = list(evidence.drifted)
    others = [name for name in dict.fromkeys([*evidence.found, *untreated]) if name not in columns]
    parts = [
        f"{what} {', '.join(names[:_SHOWN])}"
        + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        for what, names in (("drifted inputs", columns), ("findings", others))
        if names
    ]
    return ", ".join(parts) or None


def _new_rows(enough: int | None, rows: int | None) -> str | None:
    if enough is None or rows is None or rows < enough:
        return None
    return f"{rows} labelled rows since the champion's data (retrain.new_rows {enough})"


def _too_old(max_age: timedelta | None, window: Window, champion: Champion) -> str | None:
    age = window.end - champion.cutoff
    if max_age is None or age < max_age:
        return None
    return f"the champion's data is {age.days} days old"
