"""Which of a night's comparisons are worth an alarm, and which were told before.

A comparison is an alarm where its effect reaches its threshold and it stands at the night's
false-alarm rate over all comparisons (Holm, 1979). The threshold is the declared effect, or what
the model's own quiet nights reach at that rate, whichever is larger (see `drift_thresholds`). What
was told stays told: one change is one alarm, until it doubles, is gone for a while, or the
champion changes. A column that has another unit has moved, too; that it has is told once.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np

from ferryman.monitoring.drift_thresholds import Against, quiet_reach, settled
from ferryman.profiles.two_samples import holm
from ferryman.spec.monitoring import DriftSpec

Kind = Literal["column", "joint", "prediction", "concept", "previous", "unit"]
_APART = frozenset({"nulls", "unseen"})  # how far values move on quiet nights says nothing of them
_UNITS = 0.05  # of the rate of false alarms
_WORSE = 2.0  # times the effect that was told: another alarm


@dataclass(frozen=True)
class Comparison:
    """One thing that was compared on a night.

    kind: `column` is a column against the training data, `previous` a column of the newest window
    against the days before it; `unit` one that came in another unit; `joint`, `prediction` and
    `concept` are of either sort, which `against` tells. subject: what is told of at most once.
    effect, p_value: None where it could not be judged, with the reason as outcome. certain: a
    change so plain that how much quiet nights vary does not matter.
    """

    kind: Kind
    against: Against
    subject: str
    name: str
    effect: float | None = None
    effect_name: str = "shift"
    p_value: float | None = None
    text: str = ""
    outcome: str = "judged"
    certain: bool = False

    @property
    def key(self) -> str:
        """Names the comparison from night to night."""
        apart = f" {self.effect_name}" if self.effect_name in _APART else ""
        return f"{self.kind} {self.against} {self.subject}{apart}"


@dataclass(frozen=True)
class Finding:
    """A comparison that is worth attention: an `alarm`, or `still` where it was told before."""

    kind: Kind
    name: str
    effect: float
    effect_name: str
    threshold: float
    p_value: float
    outcome: Literal["alarm", "still"]
    text: str
    subject: str
    against: Against
    since: str
    called: str = "drifted"

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Night:
    """What is remembered of one night's comparisons; see `drift_history`.

    effects: by the comparison's key; found: by subject, the effect, and since which window it is
    told; scores: the profile of the champion's scores in the newest window, as JSON.
    """

    start: str
    end: str
    version: int
    effects: dict[str, float] = field(default_factory=dict)
    found: dict[str, tuple[float, str]] = field(default_factory=dict)
    over: list[str] = field(default_factory=list)
    scores: dict[str, Any] | None = None

    @property
    def ended(self) -> datetime:
        """The end of its newest window."""
        return datetime.fromisoformat(self.end)


def judge(
    comparisons: Sequence[Comparison],
    earlier: Sequence[Night],
    spec: DriftSpec,
    *,
    start: datetime,
    version: int,
) -> list[Finding]:
    """What a night that begins at `start` has found; `earlier`: nights before it, oldest first."""
    judged = [one for one in comparisons if one.effect is not None and one.p_value is not None]
    judged.sort(key=lambda one: one.kind != "unit")
    stands, rate = _beyond_chance(judged, spec.significance)
    quiet = settled(earlier, spec, start)
    told = _told(earlier, version, start - spec.window)
    found: list[Finding] = []
    units: set[str] = set()
    for one, is_beyond_chance in zip(judged, stands, strict=True):
        effect, p_value = one.effect or 0.0, one.p_value or 0.0
        if not is_beyond_chance or effect < spec.effect:
            continue
        reach = 0.0 if one.certain else quiet_reach(one.key, one.against, quiet, spec, rate)
        threshold = max(spec.effect, reach)
        if effect >= threshold:
            before, since = told.get(one.subject, (0.0, ""))
            is_told = bool(since) and (one.kind == "unit" or effect < _WORSE * before)
            # Of all that is said of a column its unit says most: the rest follows from it.
            known = is_told or (one.kind in ("column", "previous") and one.name in units)
            if one.kind == "unit":
                units.add(one.name)
            found.append(
                Finding(
                    kind=one.kind,
                    name=one.name,
                    effect=effect,
                    effect_name=one.effect_name,
                    threshold=threshold,
                    p_value=p_value,
                    outcome="still" if known else "alarm",
                    text=one.text,
                    subject=one.subject,
                    against=one.against,
                    since=since if is_told else start.isoformat(),
                    called=one.outcome,
                )
            )
    return sorted(found, key=lambda one: (one.outcome, one.kind != "unit", -one.effect))


def _beyond_chance(judged: Sequence[Comparison], significance: float) -> tuple[list[bool], float]:
    """Which stand, and the rate that is left to each of the distributions that are compared.

    Units, which come first, have a small share of their own: another unit is told by evidence far
    beyond any rate, so they need not make all others stricter by their number.
    """
    units = sum(one.kind == "unit" for one in judged)
    p_values = np.asarray([one.p_value for one in judged], dtype=np.float64)
    share = _UNITS * significance if units else 0.0
    stands = [*holm(p_values[:units], share), *holm(p_values[units:], significance - share)]
    return stands, (significance - share) / max(1, len(judged) - units)


def remember(
    comparisons: Sequence[Comparison],
    findings: Sequence[Finding],
    *,
    span: tuple[datetime, datetime],
    version: int,
    scores: dict[str, Any] | None = None,
) -> Night:
    """What later nights need of this one."""
    found: dict[str, tuple[float, str]] = {}
    for one in findings:
        effect, since = found.get(one.subject, (0.0, one.since))
        found[one.subject] = (max(effect, one.effect), min(since, one.since))
    reached = {(one.kind, one.against, one.subject) for one in findings}
    return Night(
        start=span[0].isoformat(),
        end=span[1].isoformat(),
        version=version,
        effects={one.key: one.effect for one in comparisons if one.effect is not None},
        found=found,
        over=[one.key for one in comparisons if (one.kind, one.against, one.subject) in reached],
        scores=scores,
    )


def _told(earlier: Sequence[Night], version: int, since: datetime) -> dict[str, tuple[float, str]]:
    """What is told of the champion and lasts: by subject the effect that was told, and when.

    A change that was not seen for longer than the trailing window is gone.
    """
    told: dict[str, tuple[float, str, datetime]] = {}
    for night in earlier:
        if night.version != version:
            continue
        for subject, (effect, begun) in night.found.items():
            before = told.get(subject)
            largest = max(effect, before[0]) if before and before[1] == begun else effect
            told[subject] = (largest, begun, night.ended)
    lasting = since - timedelta(microseconds=1)
    return {
        subject: (effect, begun)
        for subject, (effect, begun, seen) in told.items()
        if seen > lasting
    }
