"""The 95th percentile of latencies that are known by counts only, with bounds that always hold.

A share of 0.95 of all latencies lies at or below the true percentile. So the number of those that
do is a plain count of successes, and a rank that is too far from 0.95 n is refuted by the
beta-binomial mixture, at all looks together. Source: Howard and Ramdas, Sequential estimation of
quantiles (Bernoulli 2022), and Robbins (1970) for the mixture.
"""

import math
from collections.abc import Sequence

from ferryman.rollout.rates import log_beta
from ferryman.runtime.traffic import SECONDS_BOUNDS

SHARE = 0.95
# The mixture over shares: centred on SHARE, tightest around some hundred latencies.
_ABOVE = 2.0
_BELOW = _ABOVE * SHARE / (1 - SHARE)
# Widths of bins are equal in logarithms; the first bin is thought to be as wide as the others.
_STEP = SECONDS_BOUNDS[1] / SECONDS_BOUNDS[0]


def always_ranks(count: int, significance: float) -> tuple[float, float]:
    """The ranks between which the percentile lies, at all looks together; (0, count) if unknown."""
    enough = math.log(1 / significance)
    centre = round(SHARE * count)
    if _against(centre, count) >= enough:
        return 0.0, float(count)
    low, high = _edge(centre, 0, count, enough), _edge(centre, count, count, enough)
    return float(low), float(high)


def look_ranks(count: int, z: float) -> tuple[float, float]:
    """The ranks between which the percentile lies, at this one look."""
    half = z * math.sqrt(count * SHARE * (1 - SHARE))
    return max(0.0, SHARE * count - half), SHARE * count + half + 1


def at_rank(counts: Sequence[int], rank: float) -> float:
    """The latency in seconds below which `rank` latencies lie; infinite beyond the last bound.

    Within a bin the logarithms of latencies are thought to lie evenly.
    """
    if rank > sum(counts):
        return math.inf
    below = 0
    for place, count in enumerate(counts):
        if count and below + count >= rank:
            if place == len(SECONDS_BOUNDS):
                return math.inf
            part = max(0.0, rank - below) / count
            return float(SECONDS_BOUNDS[place] * _STEP ** (part - 1))
        below += count
    return math.inf


def _edge(inside: int, outside: int, count: int, enough: float) -> int:
    """The last rank from `inside` towards `outside` that is not refuted."""
    if _against(outside, count) < enough:
        return outside
    while abs(outside - inside) > 1:
        middle = (inside + outside) // 2
        if _against(middle, count) >= enough:
            outside = middle
        else:
            inside = middle
    return inside


def _against(rank: int, count: int) -> float:
    """The logarithm of the evidence that `rank` of `count` are not drawn with SHARE."""
    mixture = log_beta(_BELOW + rank, _ABOVE + count - rank) - log_beta(_BELOW, _ABOVE)
    return mixture - rank * math.log(SHARE) - (count - rank) * math.log(1 - SHARE)
