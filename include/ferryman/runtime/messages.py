"""The step contract on the wire: StepRequest in, StepResult out, both JSON, protocol 1."""

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from ferryman.spec.windows import Window

PROTOCOL: Literal[1] = 1
Verdict = Literal["done", "passed", "not_needed", "undecided", "superseded"]


class Message(BaseModel):
    """Frozen, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StepResult(Message):
    """What a finished step says. Small: paths and figures, never frames or models.

    `metrics` holds plain numbers (null where a number could not be had), `outputs` what later steps
    read, `artifacts` paths of files by name, `text` one line for people.
    """

    protocol: Literal[1] = PROTOCOL
    model: str
    step: str
    request_digest: str
    verdict: Verdict = "done"
    text: str = ""
    outputs: dict[str, JsonValue] = Field(default_factory=dict)
    metrics: dict[str, float | None] = Field(default_factory=dict)
    artifacts: dict[str, str] = Field(default_factory=dict)


class StepRequest(Message):
    """All that a step may know: what to do, for which window, after which earlier results."""

    protocol: Literal[1] = PROTOCOL
    model: str
    step: str
    run_id: str = Field(min_length=1, max_length=500)
    run_uri: str
    window: Window | None = None
    params: dict[str, JsonValue] = Field(default_factory=dict)
    spec_digest: str
    results: dict[str, StepResult] = Field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The sha256 of the request's canonical JSON: equal requests are one piece of work."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json"))).hexdigest()


def canonical_json(value: JsonValue) -> bytes:
    """JSON with sorted keys, no spaces, no NaN: equal values give equal bytes."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    ).encode()
