"""A verdict on a stage of a rollout, and the findings that it rests on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

Outcome = Literal["passed", "failed", "undecided"]
Rule = Literal["requests", "errors", "latency", "shift", "constant", "labels", "shadow"]


@dataclass(frozen=True)
class Finding:
    """What one rule says: the effect with its interval, in the rule's own unit.

    `count` is how many observations it rests on; effect, low and high are None where nothing can be
    computed.
    """

    rule: Rule
    outcome: Outcome
    text: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    count: int = 0

    def as_json(self) -> dict[str, JsonValue]:
        """A form that the ledger keeps."""
        return {
            "rule": self.rule,
            "outcome": self.outcome,
            "text": self.text,
            "effect": self.effect,
            "low": self.low,
            "high": self.high,
            "count": self.count,
        }


@dataclass(frozen=True)
class Evidence:
    """All findings of one look: failed by one of them, passed by all of them."""

    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Outcome:
        """The verdict; without findings nothing is decided."""
        outcomes = [finding.outcome for finding in self.findings]
        if "failed" in outcomes:
            return "failed"
        return "passed" if outcomes and set(outcomes) == {"passed"} else "undecided"

    @property
    def text(self) -> str:
        """What decided, or what keeps it from being decided."""
        deciding = [one.text for one in self.findings if one.outcome == self.outcome]
        return "; ".join(deciding) or "no findings"

    def as_json(self) -> dict[str, JsonValue]:
        """A form that the ledger keeps."""
        findings: list[JsonValue] = [finding.as_json() for finding in self.findings]
        return {"outcome": self.outcome, "text": self.text, "findings": findings}


def together(*parts: Evidence) -> Evidence:
    """The findings of several judgements as one."""
    found: Sequence[Finding] = [finding for part in parts for finding in part.findings]
    return Evidence(tuple(found))
