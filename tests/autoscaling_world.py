"""A simulated server of queues, for the tests of the autoscaling policy."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from ferryman.deployment.autoscaling.decision import Decision, Figures, Memory, ReplicaFigures
from ferryman.deployment.autoscaling.policy import Moment, decide
from ferryman.spec.servers import AutoscalingSpec

START = datetime(2026, 1, 1, tzinfo=UTC)
EVERY = 10.0  # seconds
CAPACITY = 100.0  # requests/s that one replica can answer

CPU = {"kind": "cpu", "target": 0.7}
REQUESTS = {"kind": "requests", "per_replica": 60}
LATENCY = {"kind": "latency", "p95_ms": 60, "release": 0.5}


def autoscaling(*rules: dict[str, object], **keys: object) -> AutoscalingSpec:
    """A declaration: 1 to 10 replicas, down after a minute, unless told otherwise."""
    values: dict[str, Any] = {"max": 10, "scale_down_after": "1m", "rules": list(rules), **keys}
    return AutoscalingSpec.model_validate(values)


def measured(load: float, replicas: int, *, window: float = EVERY) -> Figures:
    """What a server of that many M/M/1 queues, each with its share of the load, would show."""
    share = load / replicas
    busy = min(share / CAPACITY, 1.0)
    # The time in an M/M/1 queue is exponential; a full one answers as late as clients wait.
    p95 = None if load == 0 else min(math.log(20) / max(CAPACITY - share, 1e-9), 5.0) * 1000
    one = ReplicaFigures(cpu=busy, requests=min(share, CAPACITY))
    return Figures(
        window=window,
        replicas={str(number): one for number in range(replicas)},
        ready=replicas,
        p95_ms=p95,
    )


def noisy(figures: Figures, factor: float) -> Figures:
    """The same, every figure off by a factor."""
    return figures.model_copy(
        update={
            "p95_ms": None if figures.p95_ms is None else figures.p95_ms * factor,
            "replicas": {
                name: ReplicaFigures(
                    cpu=None if one.cpu is None else one.cpu * factor,
                    requests=None if one.requests is None else one.requests * factor,
                )
                for name, one in figures.replicas.items()
            },
        }
    )


class World:
    """A server under autoscaling, a decision every ten seconds; a change takes effect at once."""

    def __init__(self, spec: AutoscalingSpec, replicas: int = 1) -> None:
        self.spec, self.replicas = spec, replicas
        self.memory, self.now = Memory(), START
        self.decisions: list[Decision] = []

    def live(self, rounds: int, see: Callable[[int], Figures | None]) -> list[Decision]:
        """So many rounds; `see(replicas)` is what is measured. Returns their decisions."""
        for _ in range(rounds):
            self.now += timedelta(seconds=EVERY)
            moment = Moment("main", self.now, self.replicas, see(self.replicas), "away")
            decision, self.memory = decide(self.spec, self.memory, moment)
            # What is remembered goes through a file between two decisions.
            self.memory = Memory.model_validate_json(self.memory.model_dump_json())
            self.decisions.append(decision)
            self.replicas = decision.wanted
        return self.decisions[-rounds:]

    def under(self, load: float, rounds: int) -> list[Decision]:
        """So many rounds under a load, in requests a second."""
        return self.live(rounds, lambda replicas: measured(load, replicas))


def changes(decisions: list[Decision]) -> int:
    """How many of the decisions changed anything."""
    return sum(decision.change != "hold" for decision in decisions)


def turns(decisions: list[Decision]) -> int:
    """How often the number of replicas changed its direction."""
    ways = [decision.change for decision in decisions if decision.change != "hold"]
    return sum(one != other for one, other in pairwise(ways))
