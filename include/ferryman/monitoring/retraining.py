"""Decides whether a window's evidence calls for a retrain. Pure: no clock, no files.

Reasons, the strongest first: the champion's quality fell below what the gate saw; its scores no
longer meet the observed rate; inputs drifted; its data is too old. Cool-down and weekly budget hold
for all of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from ferryman.spec.metrics import LOWER_IS_BETTER, METRICS_OF
from ferryman.spec.monitoring import MonitorSpec, QualitySpec
from ferryman.spec.windows import Window, format_time

Cause = Literal["quality", "calibration", "drift", "age"]
# Of a regression, those in the unit of the label, which its tolerance is given in then.
_IN_UNITS_OF_THE_LABEL = frozenset({"mae", "rmse"})
_WEEK = timedelta(days=7)
_SHOWN = 3
_LONGEST = 200  # what a training run takes as its reason


@dataclass(frozen=True)
class Champion:
    """The champion as the window saw it: version, data cut-off, and the gate's figure."""

    version: int
    cutoff: datetime
    gate_value: float | None = None


@dataclass(frozen=True)
class Evidence:
    """What monitoring found in one window: figures of the served version only.

    value, low, high: the declared metric on trailing labels and its interval; shift, shift_low,
    shift_high: observed rate minus mean score; drifted: columns.
    """

    text: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    shift: float | None = None
    shift_low: float | None = None
    shift_high: float | None = None
    drifted: Sequence[str] = ()


@dataclass(frozen=True)
class Decision:
    """One window's decision, as it is stored.

    retrain: whether this window asks for a retrain; asked: whether it ever did (a restated window
    that no longer asks has still spent its part of the budget); causes: what the evidence called
    for; reason: one line for people.
    """

    window_start: str
    window_end: str
    retrain: bool
    asked: bool
    reason: str
    causes: list[str] = field(default_factory=list)
    champion: int | None = None
    evidence: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The decision as plain JSON."""
        return asdict(self)


def decide(
    spec: MonitorSpec,
    window: Window,
    champion: Champion | None,
    evidence: Evidence,
    history: Iterable[Decision],
) -> Decision:
    """Decide for one window from its evidence and the decisions of other windows.

    Only decisions of earlier windows count against cool-down and budget, so that deciding a window
    again gives the same answer, whatever was decided after it.
    """
    stored = list(history)
    own = [past for past in stored if past.window_start == format_time(window.start)]
    earlier = [past for past in stored if past.window_start < format_time(window.start)]
    causes = _causes(spec, window, champion, evidence)
    block = _obstacle(spec, window, champion, earlier)
    retrain = bool(causes) and block is None
    return Decision(
        window_start=format_time(window.start),
        window_end=format_time(window.end),
        retrain=retrain,
        asked=retrain or any(past.asked for past in own),
        reason=_reason(causes, block, evidence),
        causes=list(causes),
        champion=champion.version if champion else None,
        evidence={**asdict(evidence), "drifted": list(evidence.drifted)},
    )


def _causes(
    spec: MonitorSpec, window: Window, champion: Champion | None, evidence: Evidence
) -> dict[Cause, str]:
    """What calls for a retrain, in words, the strongest first."""
    if champion is None:
        return {}
    found: dict[Cause, str | None] = {
        "quality": _quality_fell(spec.quality, champion, evidence),
        "calibration": _scores_shifted(spec.quality, evidence),
        "drift": _inputs_drifted(evidence.drifted),
        "age": _too_old(spec.retrain.max_age, window, champion),
    }
    return {cause: text for cause, text in found.items() if text is not None}


def _quality_fell(spec: QualitySpec, champion: Champion, evidence: Evidence) -> str | None:
    if evidence.value is None or champion.gate_value is None:
        return None
    if spec.metric in LOWER_IS_BETTER:
        bound = champion.gate_value + spec.tolerance
        fell = evidence.value > bound and evidence.low is not None and evidence.low > bound
    else:
        bound = champion.gate_value - spec.tolerance
        fell = evidence.value < bound and evidence.high is not None and evidence.high < bound
    if not fell:
        return None
    return (
        f"{spec.metric} {evidence.value:.4f}, the gate saw {champion.gate_value:.4f} "
        f"(tolerance {spec.tolerance:g})"
    )


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


def _inputs_drifted(columns: Sequence[str]) -> str | None:
    if not columns:
        return None
    more = f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else ""
    return f"drifted inputs {', '.join(columns[:_SHOWN])}{more}"


def _too_old(max_age: timedelta | None, window: Window, champion: Champion) -> str | None:
    age = window.end - champion.cutoff
    if max_age is None or age < max_age:
        return None
    return f"the champion's data is {age.days} days old"


def _obstacle(
    spec: MonitorSpec, window: Window, champion: Champion | None, earlier: Sequence[Decision]
) -> str | None:
    """Why no retrain may be asked for now, whatever the evidence says."""
    if champion is None:
        return "nothing is served yet"
    if champion.cutoff >= window.end:
        return f"the champion already knows the data up to {format_time(champion.cutoff)}"
    asked = [datetime.fromisoformat(past.window_end) for past in earlier if past.asked]
    since = [window.end - end for end in asked]
    if since and min(since) < spec.retrain.cool_down:
        return f"cool-down: a retrain was asked for {min(since).days} days ago"
    spent = sum(1 for gap in since if gap < _WEEK)
    if spent >= spec.retrain.per_week:
        return f"budget: {spent} of {spec.retrain.per_week} retrains this week are spent"
    return None


def _reason(causes: Mapping[Cause, str], block: str | None, evidence: Evidence) -> str:
    called = "; ".join(f"{cause}: {text}" for cause, text in causes.items())
    if not called:
        return block or f"nothing calls for it ({evidence.text or 'no evidence'})"
    text = f"{called}, but {block}" if block else called
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
