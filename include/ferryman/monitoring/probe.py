"""What a probe found: whether a retrain on the newest data would have helped, and what it cost.

Kept as <root>/<model>/probes/<digest>.json, under a digest of all that it was made from: what was
tried once is not tried again.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ferryman.errors import IntegrityBroken
from ferryman.runtime.files import read_json, write_json

ProbeOutcome = Literal["helps", "useless", "undecided"]


@dataclass(frozen=True)
class ProbeFinding:
    """A retrain's trial on the newest labelled rows, which it did not learn from.

    estimate, low, high: improvement on the champion, positive is better, in the metric's unit;
    rows: that judged; train_rows: that were learned from, of `known_rows`; seconds, cpu_seconds:
    what the trial cost. Figures are None where nothing could be compared, and `text` says why.
    """

    outcome: ProbeOutcome
    text: str
    metric: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    rows: int = 0
    train_rows: int = 0
    known_rows: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The finding as plain JSON."""
        return asdict(self)


def judge_probe(low: float, high: float, *, margin: float, sampled: bool) -> ProbeOutcome:
    """The outcome by the interval of the improvement.

    Where even its upper end is below the margin, the retrain is not worth its cost; where its lower
    end is above 0, it is better. A model of a sample of the rows may be worse than one of all, so
    that a sample can show that a retrain helps, and cannot show that it does not.
    """
    if high < margin:
        return "undecided" if sampled else "useless"
    return "helps" if low > 0 else "undecided"


class Probes:
    """The stored findings of all models below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, model: str, digest: str) -> ProbeFinding | None:
        """What was found before; IntegrityBroken (exit 7) where that is not readable."""
        file = self._file(model, digest)
        if not file.is_file():
            return None
        try:
            return ProbeFinding(**read_json(file))
        except (OSError, ValueError, TypeError) as error:
            raise IntegrityBroken(
                f"{file}: not a probe's finding: {error}",
                remedy="Remove the file: the probe is made again.",
            ) from error

    def write(self, model: str, digest: str, finding: ProbeFinding) -> None:
        """Keep a finding."""
        write_json(self._file(model, digest), finding.as_json())

    def _file(self, model: str, digest: str) -> Path:
        return self._root / model / "probes" / f"{digest}.json"
