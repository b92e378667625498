"""Two error rates, looked at as often as one likes: whether one is proven to be the higher.

The proof is an e-process: a number that, while the candidate's rate is no higher than the
champion's, ever exceeds 1 / a with probability a at most (Ville's inequality). It is the
likelihood of what was counted under a mixture of rates, over the largest likelihood that "no
higher" allows: so neither rate need be known, and the newest counts suffice. Sources: Wasserman,
Ramdas and Balakrishnan, Universal inference (PNAS 2020), section 8; Robbins, Statistical methods
related to the law of the iterated logarithm (1970), for the mixture.
"""

import math
from dataclasses import dataclass

# Mixtures of rates, Beta(a, b). Any are valid; these find small rates of errors soonest.
CANDIDATE = (0.5, 5.0)
CHAMPION = (0.1, 10.0)
_HALVINGS = 25


@dataclass(frozen=True)
class Counted:
    """How many of some requests failed."""

    errors: int
    requests: int

    @property
    def rate(self) -> float:
        """The share of failed requests; 0 of none."""
        return self.errors / self.requests if self.requests else 0.0


def increase_proof(candidate: Counted, champion: Counted, increase: float = 0.0) -> float:
    """How strong the evidence is that the candidate's rate is more than `increase` higher.

    As a logarithm: at least log(1 / a) with probability a at most, ever, while it is not.
    """
    if candidate.requests == 0 or champion.requests == 0:
        return 0.0
    mixture = _mixture(candidate, *CANDIDATE) + _mixture(champion, *CHAMPION)
    return mixture - _best_without(candidate, champion, increase)


def proven_increase(candidate: Counted, champion: Counted, significance: float) -> float:
    """A lower bound of the increase of the rate that holds at all looks together.

    -1 where nothing is known; 0 or above where `increase_proof` reaches log(1 / significance).
    """
    enough = math.log(1 / significance)
    low, high = -1.0, candidate.rate - champion.rate
    if increase_proof(candidate, champion) >= enough:
        low = 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if increase_proof(candidate, champion, middle) >= enough:
            low = middle
        else:
            high = middle
    return low


def most_increase(candidate: Counted, champion: Counted, z: float) -> float:
    """An upper bound of the increase of the rate, at this one look; 1 where a side has no requests.

    Source: Newcombe, Interval estimation for the difference between independent proportions
    (1998), method 10.
    """
    if candidate.requests == 0 or champion.requests == 0:
        return 1.0
    _, above = wilson(candidate, z)
    below, _ = wilson(champion, z)
    up, down = above - candidate.rate, champion.rate - below
    return candidate.rate - champion.rate + math.hypot(up, down)


def wilson(counted: Counted, z: float) -> tuple[float, float]:
    """Wilson's interval of a rate."""
    n, rate = counted.requests, counted.rate
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + (z / (2 * n)) ** 2)
    return max(0.0, middle - half), min(1.0, middle + half)


def log_beta(a: float, b: float) -> float:
    """The logarithm of the beta function."""
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _mixture(counted: Counted, a: float, b: float) -> float:
    return log_beta(a + counted.errors, b + counted.requests - counted.errors) - log_beta(a, b)


def _best_without(candidate: Counted, champion: Counted, increase: float) -> float:
    """The largest log likelihood of rates that differ by `increase` at most."""
    if candidate.rate - champion.rate <= increase:
        return _likelihood(candidate, candidate.rate) + _likelihood(champion, champion.rate)
    if increase == 0.0:
        errors = candidate.errors + champion.errors
        rate = errors / (candidate.requests + champion.requests)
        return _likelihood(candidate, rate) + _likelihood(champion, rate)
    # The likelihood is concave along the border: its slope falls, and is halved down to its root.
    low, high = max(0.0, -increase), min(1.0, 1.0 - increase)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _slope(candidate, middle + increase) + _slope(champion, middle) > 0:
            low = middle
        else:
            high = middle
    rate = (low + high) / 2
    return _likelihood(candidate, rate + increase) + _likelihood(champion, rate)


def _slope(counted: Counted, rate: float) -> float:
    return (counted.errors / rate if counted.errors else 0.0) - (
        (counted.requests - counted.errors) / (1 - rate)
        if counted.requests > counted.errors
        else 0.0
    )


def _likelihood(counted: Counted, rate: float) -> float:
    right = counted.requests - counted.errors
    failed = counted.errors * math.log(rate) if counted.errors else 0.0
    return failed + (right * math.log1p(-rate) if right else 0.0)
