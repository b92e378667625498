"""What one variant does while it is compared with another."""

import random
from collections.abc import Sequence
from typing import Any

from ferryman.runtime.traffic import MOST_SCORES, SECONDS_BOUNDS, seconds_bin


class Tally:
    """Counts of one variant: see VariantFigures. Of one thread.

    `seed` tells the samples of several replicas apart.
    """

    __slots__ = ("_bins", "_dice", "_scored", "_scores", "errors", "requests")

    def __init__(self, seed: str) -> None:
        self.requests = self.errors = 0
        self._bins = [0] * (len(SECONDS_BOUNDS) + 1)
        self._scored = 0
        self._scores: list[float] = []
        self._dice = random.Random(seed)  # noqa: S311 - a sample, no secret

    def answered(self, seconds: float, scores: Sequence[Any]) -> None:
        """Count an answered request: numbers, or of a multiclass model rows of them.

        One of its rows speaks for it, each as likely as another: requests are compared, and the
        rows of one are alike.
        """
        self.requests += 1
        self._bins[seconds_bin(seconds)] += 1
        # Each request is as likely in the sample as any other (algorithm R).
        self._scored += 1
        place = len(self._scores)
        if place == MOST_SCORES:
            place = int(self._dice.random() * self._scored)
            if place >= MOST_SCORES:
                return
        count = len(scores)
        score = scores[0 if count == 1 else int(self._dice.random() * count)]
        number = score if type(score) is float else _likeliest(score)
        self._scores[place : place + 1] = [number]

    def failed(self) -> None:
        """Count a request that it could not answer."""
        self.requests += 1
        self.errors += 1

    def as_json(self) -> dict[str, Any]:
        """The fields of VariantFigures."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "seconds": self._bins,
            "scored": self._scored,
            "scores": self._scores,
        }


def _likeliest(score: Any) -> float:
    """The place of the likeliest class."""
    return float(max(range(len(score)), key=score.__getitem__)) if type(score) is list else score
