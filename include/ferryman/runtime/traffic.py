"""Traffic between a champion and a candidate: who gets what share, and what both did with it.

A share is held under a lease: whoever gave it must renew it, else the server takes it back.
"""

import random
from bisect import bisect_left
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SHA256 = r"^[0-9a-f]{64}$"
# How requests meet a candidate; also the name of the variant that answers them.
Variant = Literal["canary", "challenger", "shadow"]
LONGEST_LEASE = 300.0  # seconds
# Bounds of the latency counts in seconds, four to a doubling: 0.1 ms to 26 s.
SECONDS_BOUNDS = tuple(1e-4 * 2 ** (step / 4) for step in range(73))
MOST_SCORES = 2000  # kept of each variant, drawn evenly
_LARGEST = 2**31 - 1


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Traffic(_Frozen):
    """A candidate's share of a model's requests.

    `op` is the operation of the ledger, and salts the sticky hash: a larger weight keeps those that
    a smaller one chose. `base_epoch` is the epoch of the champion that it stands beside. Of two
    writers the one with the higher `fence` counts. `lease` is in seconds from now. Figures are
    counted anew where `op` or `stage` changes. A shadow gets a copy of that share and answers
    nobody.
    """

    op: str = Field(pattern=SHA256)
    variant: Variant
    version: int = Field(ge=0, le=_LARGEST)
    digest: str = Field(pattern=SHA256)
    weight: float = Field(gt=0, le=1)
    base_epoch: int = Field(ge=1, le=_LARGEST)
    fence: int = Field(ge=1, le=_LARGEST)
    stage: int = Field(ge=0, le=_LARGEST)
    lease: float = Field(gt=0, le=LONGEST_LEASE)

    def is_renewed_by(self, other: "Traffic") -> bool:
        """Whether another differs by its lease alone, and by who holds it."""
        same = {"fence": other.fence, "lease": other.lease}
        return self.model_copy(update=same) == other

    @property
    def figures_of(self) -> tuple[str, int]:
        """What figures belong to: they begin anew with it."""
        return self.op, self.stage


class VariantFigures(_Frozen):
    """What one variant did since the stage began, over all replicas.

    `errors` are requests that it could not answer (a champion's 5xx; whatever a candidate failed
    at, though the champion then answered in its place). `seconds` counts latencies between
    SECONDS_BOUNDS, the last one above them all. `scores` is an even sample of `scored`
    answers: the number of one row of each, of a multiclass model the place of the likeliest class.
    """

    requests: int = 0
    errors: int = 0
    seconds: list[int] = Field(default_factory=lambda: [0] * (len(SECONDS_BOUNDS) + 1))
    scored: int = 0
    scores: list[float] = []


class TrafficState(_Frozen):
    """The traffic of one model as a server tells it.

    `remaining` is what is left of the lease, in seconds; `everywhere` whether every ready replica
    follows it. `copied`, `dropped`: requests that a shadow was sent, and that it never got.
    """

    traffic: Traffic
    remaining: float
    everywhere: bool
    champion: VariantFigures
    candidate: VariantFigures
    copied: int = 0
    dropped: int = 0


def seconds_bin(seconds: float) -> int:
    """The place of a latency in VariantFigures.seconds."""
    return bisect_left(SECONDS_BOUNDS, seconds)


def merged(parts: Sequence[VariantFigures]) -> VariantFigures:
    """The figures of several replicas as one; of scores each gives its part of all that it saw."""
    scored = sum(part.scored for part in parts)
    wanted = min(MOST_SCORES, scored)
    scores: list[float] = []
    seen = 0
    for part in parts:
        # Rounded as a running sum, so that all together are as many as wanted.
        before, seen = seen, seen + part.scored
        share = round(wanted * seen / scored) - round(wanted * before / scored) if scored else 0
        dice = random.Random(part.scored)  # noqa: S311 - a sample, no secret
        scores += dice.sample(part.scores, min(share, len(part.scores)))
    columns = zip(*(part.seconds for part in parts), strict=True) if parts else ()
    return VariantFigures(
        requests=sum(part.requests for part in parts),
        errors=sum(part.errors for part in parts),
        seconds=[sum(column) for column in columns] or VariantFigures().seconds,
        scored=scored,
        scores=scores,
    )
