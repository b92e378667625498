"""What was compared between a registered version and now, and the report of it all."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ferryman.errors import IntegrityBroken


@dataclass(frozen=True)
class Finding:
    """One thing that was compared; `text` names both sides where they differ."""

    subject: str
    same: bool
    text: str


class CannotReproduce(IntegrityBroken):
    """Something without which the training cannot be done again (exit 7).

    Its text begins with what it is about, and a colon.
    """

    @property
    def finding(self) -> Finding:
        """The same as a finding."""
        subject, _, text = self.text.partition(": ")
        return Finding(subject, False, text)


@dataclass(frozen=True)
class Comparison:
    """How the answers of two models for the same rows differ.

    `max_difference` is over all rows and classes, where the answer is a value larger than 1 in
    parts of it; `first_row` describes the first row beyond the tolerance, `recorded` and `found`
    are the registered model's answer for it and the new one's.
    """

    rows: int
    max_difference: float
    tolerance: float
    first_row: str = ""
    recorded: float | None = None
    found: float | None = None

    @property
    def equal(self) -> bool:
        """Whether no row is beyond the tolerance."""
        return not self.first_row


@dataclass(frozen=True)
class Reproduction:
    """Everything that was compared, in order; without `comparison` it did not come to a training.

    `seconds` is what training again took; `same_bytes` says whether even the model files are equal.
    """

    model: str
    version: int
    findings: Sequence[Finding]
    comparison: Comparison | None = None
    seconds: float | None = None
    same_bytes: bool | None = None
    remedy: str = field(default="", repr=False)

    @property
    def reproduced(self) -> bool:
        """Whether the training gave the registered model again."""
        return self.comparison is not None and self.comparison.equal

    @property
    def first_difference(self) -> Finding | None:
        """The first thing that is not what it was, whether it mattered or not."""
        return next((finding for finding in self.findings if not finding.same), None)

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        first = self.first_difference
        return {
            "model": self.model,
            "version": self.version,
            "reproduced": self.reproduced,
            "first_difference": asdict(first) if first else None,
            "findings": [asdict(finding) for finding in self.findings],
            "comparison": asdict(self.comparison) if self.comparison else None,
            "seconds": self.seconds,
            "same_bytes": self.same_bytes,
        }

    def error(self) -> IntegrityBroken:
        """What is raised where it was not reproduced (exit 7); names the first difference."""
        name, first = f"{self.model}/{self.version}", self.first_difference
        if self.comparison is None or first is None:
            text = f"{first.subject}: {first.text}" if first else "no training was done"
            return IntegrityBroken(f"{name} cannot be reproduced: {text}", remedy=self.remedy)
        last = self.findings[-1]
        before = "nothing else differs" if first is last else f"{first.subject}: {first.text}"
        return IntegrityBroken(
            f"{name} was not reproduced: {last.text}; the first thing that differs: {before}",
            remedy="Bring what differs back to what it was, then run again."
            if first is not last
            else "The training itself is not deterministic: give every part of the pipeline the "
            "seed that build() is given.",
        )
