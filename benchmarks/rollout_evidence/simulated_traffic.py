"""Stages of a rollout with a known truth, looked at again and again."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ferryman.rollout.evidence import Evidence
from ferryman.rollout.traffic_evidence import judge_traffic
from ferryman.runtime.traffic import MOST_SCORES, SECONDS_BOUNDS, VariantFigures
from ferryman.spec.metrics import Task
from ferryman.spec.rollout import LimitsSpec

Floats = np.ndarray
Draw = Callable[[np.random.Generator, int], Floats]


@dataclass(frozen=True)
class Behaviour:
    """How a variant behaves: its rate of errors, its latencies in seconds, its predictions."""

    errors: float
    seconds: Draw
    scores: Draw


@dataclass(frozen=True)
class Ended:
    """How a stage ended: the requests of the candidate until then, and the rules that decided."""

    outcome: str
    requests: int
    rules: tuple[str, ...]


class Answers:
    """All answers of a variant, of which a look sees the first."""

    def __init__(self, behaviour: Behaviour, count: int, random: np.random.Generator) -> None:
        self.errors = np.cumsum(random.random(count) < behaviour.errors)
        self.bins = np.searchsorted(SECONDS_BOUNDS, behaviour.seconds(random, count))
        self.scores = behaviour.scores(random, count)
        # Reservoir sampling (Vitter's R): the n-th row takes a drawn place, or none.
        places = (random.random(count) * np.arange(1, count + 1)).astype(int)
        first = min(count, MOST_SCORES)
        places[:first] = np.arange(first)
        self.places = places
        self._kept = np.zeros(MOST_SCORES)
        self._seconds = np.zeros(len(SECONDS_BOUNDS) + 1, dtype=int)
        self._seen = 0

    def until(self, count: int) -> VariantFigures:
        """The figures of the first `count` requests; counts only grow from call to call."""
        new = slice(self._seen, count)
        kept = self.places[new] < MOST_SCORES
        self._kept[self.places[new][kept]] = self.scores[new][kept]
        self._seconds += np.bincount(self.bins[new], minlength=len(self._seconds))
        self._seen = count
        return VariantFigures.model_construct(
            requests=count,
            errors=int(self.errors[count - 1]) if count else 0,
            seconds=self._seconds.tolist(),
            scored=count,
            scores=self._kept[: min(count, MOST_SCORES)].tolist(),
        )


def run_stage(  # noqa: PLR0913 - a truth, and how it is looked at
    champion: Behaviour,
    candidate: Behaviour,
    *,
    weight: float,
    requests: int,
    seed: int,
    every: int = 50,
    until_passed: bool = False,
    limits: LimitsSpec | None = None,
    task: Task = "binary",
) -> Ended:
    """One stage, looked at after every so many requests of both, until it fails (or passes)."""
    random = np.random.default_rng(seed)
    ours = np.cumsum(random.random(requests) < weight)
    candidates = Answers(candidate, int(ours[-1]), random)
    champions = Answers(champion, requests - int(ours[-1]), random)
    evidence = Evidence(())
    count = 0
    for look in range(every, requests + 1, every):
        count = int(ours[look - 1])
        evidence = judge_traffic(
            champions.until(look - count),
            candidates.until(count),
            limits or LimitsSpec(),
            task=task,
        )
        if evidence.outcome == "failed" or (until_passed and evidence.outcome == "passed"):
            break
    decided = [one.rule for one in evidence.findings if one.outcome == evidence.outcome]
    return Ended(evidence.outcome, count, tuple(decided))
