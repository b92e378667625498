"""How many replicas each rule asks for, from one reading of the figures; pure arithmetic.

`cpu` and `requests` compute as Kubernetes' HorizontalPodAutoscaler does (its replica calculator):
a server is given as many replicas here as it would be there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ferryman.deployment.autoscaling.decision import Figures
from ferryman.spec.servers import AutoscalingRule, CpuRule, LatencyFeedback

_MOST_EXCESS = 2.0  # a latency says that there are too few, hardly how many
_ABOVE_READINGS = 2  # one slow moment is no trend
_LEAST_REQUESTS = 20  # below that a 95th percentile is the slowest request or two


@dataclass(frozen=True)
class Reading:
    """The figures of a server of `current` replicas, as far as they may be believed.

    `above`: how many readings in a row, this one included, had a latency above the target;
    `settling`: the figures still reach back to before the last change.
    """

    figures: Figures
    current: int
    tolerance: float
    above: int = 0
    settling: bool = False


@dataclass(frozen=True)
class Recommendation:
    """What one rule asks for; count None: its figure is missing."""

    rule: AutoscalingRule
    count: int | None
    reason: str


def recommend(rule: AutoscalingRule, reading: Reading) -> Recommendation:
    """What a rule asks for."""
    figures = reading.figures
    if isinstance(rule, LatencyFeedback):
        return _by_latency(rule, reading)
    if isinstance(rule, CpuRule):
        values = [one.cpu for one in figures.replicas.values() if one.cpu is not None]
        # A replica that tells nothing is thought to be busy when fewer would be run.
        count, mean = _by_share(values, rule.target, max(1.0, rule.target), reading)
        text = f"cpu {mean:.2f} of a replica's cores, target {rule.target:g}"
    else:
        values = [one.requests for one in figures.replicas.values() if one.requests is not None]
        count, mean = _by_share(values, rule.per_replica, rule.per_replica, reading)
        text = f"{mean:.1f} requests/s a replica, target {rule.per_replica:g}"
    if count is None:
        return Recommendation(rule, None, f"no figures for the rule {rule.kind}")
    return Recommendation(rule, count, text + _missing(len(values), reading.current))


def is_above(rules: Sequence[AutoscalingRule], figures: Figures) -> bool:
    """Whether this reading's latency is above the target, on enough requests to say so."""
    targets = [rule.p95_ms for rule in rules if isinstance(rule, LatencyFeedback)]
    return bool(targets) and _telling(figures) and (figures.p95_ms or 0.0) > targets[0]


def _by_share(
    values: Sequence[float], target: float, unknown: float, reading: Reading
) -> tuple[int | None, float]:
    """The count that brings the mean of `values` to the target, and the mean.

    `values` may outnumber `current` for a moment after a replica went: their sum is the load.
    """
    current = reading.current
    if not values:
        return None, math.nan
    missing = max(0, current - len(values))
    present = current - missing
    mean = sum(values) / present
    ratio = mean / target
    if missing:
        # Whoever tells nothing is thought to damp the change: idle on the way up, busy down.
        filled = sum(values) + (unknown * missing if ratio < 1 else 0.0)
        honest, ratio = ratio, filled / current / target
        if (honest < 1) != (ratio < 1):
            return current, mean
    if abs(1 - ratio) <= reading.tolerance:
        return current, mean
    # A hair above a whole number is rounding, not load.
    wanted = math.ceil(round(ratio * current, 9))
    return (max(wanted, current) if ratio > 1 else min(wanted, current)), mean


def _missing(known: int, current: int) -> str:
    return f" ({current - known} of {current} replicas tell nothing)" if known < current else ""


def _by_latency(rule: LatencyFeedback, reading: Reading) -> Recommendation:
    """One fewer far below the target, more above it, else the same: a step with hysteresis."""
    load, p95, current = reading.figures.load, reading.figures.p95_ms, reading.current
    if load == 0:
        return Recommendation(rule, current - 1, "no traffic")
    if load is None or p95 is None:
        return Recommendation(rule, None, "no figures for the rule latency")
    text, freed = f"p95 {p95:.1f} ms, target {rule.p95_ms:g}", rule.release * rule.p95_ms
    if p95 > rule.p95_ms:
        doubt = _doubt(reading)
        if doubt:
            return Recommendation(rule, current, f"{text}, {doubt}")
        excess = min(p95 / rule.p95_ms, _MOST_EXCESS)
        return Recommendation(rule, max(current + 1, math.ceil(current * excess)), text)
    if p95 < freed and not reading.settling:
        return Recommendation(rule, current - 1, f"{text}, below {freed:g}")
    return Recommendation(rule, current, text)


def _doubt(reading: Reading) -> str:
    """Why a latency above its target is not acted on yet; "" when it is."""
    if not _telling(reading.figures):
        return "of too few requests to act on"
    if reading.settling:
        return "but the last change is not measured yet"
    return "once: waiting for a second reading" if reading.above < _ABOVE_READINGS else ""


def _telling(figures: Figures) -> bool:
    return (figures.load or 0.0) * figures.window >= _LEAST_REQUESTS
