"""What an autoscaler sees, remembers and decides: the records, without any rule."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

EVERY = 10.0  # seconds between two decisions
LIGHTER = 0.8  # share of a load below which what failed under it says nothing

RuleName = Literal["cpu", "requests", "latency", "limits", "none"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ReplicaFigures(_Record):
    """One replica: the share of its declared cores that it used, and its requests a second.

    None is a figure that is not there, which is another thing than nothing used.
    """

    cpu: float | None = Field(default=None, ge=0)
    requests: float | None = Field(default=None, ge=0)


class Figures(_Record):
    """A server as measured over the last `window` seconds; `age` is that of the newest sample."""

    window: float = Field(gt=0)
    age: float = Field(default=0, ge=0)
    replicas: Mapping[str, ReplicaFigures] = {}
    ready: int | None = Field(default=None, ge=0)
    p95_ms: float | None = Field(default=None, ge=0)
    in_flight: float | None = Field(default=None, ge=0)

    @property
    def stale(self) -> bool:
        """Whether the newest sample is older than the window: nobody measures any more."""
        return self.age > self.window

    @property
    def load(self) -> float | None:
        """Requests a second of the whole server; None when no replica tells."""
        told = [one.requests for one in self.replicas.values() if one.requests is not None]
        return sum(told) if told else None


class Decision(_Record):
    """What was decided at one moment, by which rule, from what, and why."""

    at: AwareDatetime
    server: str
    current: int
    wanted: int
    rule: RuleName
    reason: str
    figures: Figures | None = None
    error: str = Field(default="", description="Why it could not be carried out.")

    @property
    def change(self) -> Literal["up", "down", "hold"]:
        """Which way it goes."""
        if self.wanted == self.current:
            return "hold"
        return "up" if self.wanted > self.current else "down"


class Recommended(_Record):
    """How many replicas the rules asked for at a moment."""

    at: AwareDatetime
    count: int


class Change(_Record):
    """The last change of the number of replicas."""

    at: AwareDatetime
    before: int
    after: int


class TooFew(_Record):
    """A number of replicas that was tried and did not suffice, at a load, until a moment."""

    count: int
    until: AwareDatetime
    load: float | None = None
    times: int = Field(default=1, ge=1)


class Memory(_Record):
    """What later decisions need of earlier ones; bounded, and kept beside the server's state."""

    recommended: tuple[Recommended, ...] = ()
    changed: Change | None = None
    above: int = Field(default=0, ge=0, description="Readings above the latency target in a row.")
    too_few: tuple[TooFew, ...] = ()
    seen: AwareDatetime | None = Field(default=None, description="The last decision's moment.")
    wanted: int | None = Field(default=None, description="What it decided.")

    def counts_out(self, now: datetime, load: float | None) -> int:
        """The largest count that is known not to suffice now; 0 when nothing is known.

        What failed under a heavier load may be tried again under a clearly lighter one.
        """
        known = [
            entry.count
            for entry in self.too_few
            if now < entry.until
            and (load is None or entry.load is None or load > LIGHTER * entry.load)
        ]
        return max(known, default=0)
