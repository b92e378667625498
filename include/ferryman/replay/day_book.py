"""What happened on each day of a policy's life: one file a day, written when the day is over."""

from dataclasses import asdict, dataclass
from pathlib import Path

from ferryman.errors import IntegrityBroken
from ferryman.runtime.files import read_json, write_json
from ferryman.spec.windows import Window

FIRST = "first"


@dataclass(frozen=True)
class DayOutcome:
    """One day of one policy.

    day: YYYY-MM-DD; trained: a training ran; released: its candidate became champion; version: of
    the champion at the day's end; reason: why it was trained; verdict: what became of it; sent:
    rows that were scored; seconds: wall time of the day.
    """

    day: str
    trained: bool
    released: bool
    version: int | None
    reason: str
    verdict: str
    sent: int
    seconds: float


class DayBook:
    """The finished days of one policy, below its home."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "days"

    def write(self, name: str, outcome: DayOutcome) -> None:
        """Note a finished day (or the `first` training)."""
        write_json(self._folder / f"{name}.json", asdict(outcome))

    def has(self, name: str) -> bool:
        """Whether that day is finished."""
        return (self._folder / f"{name}.json").is_file()

    def done(self, days: list[Window]) -> int:
        """How many of these days are finished."""
        return sum(1 for day in days if self.has(day.key))

    def read(self) -> list[DayOutcome]:
        """All outcomes in order of time, the first training before the first day."""
        files = sorted(
            self._folder.glob("*.json"), key=lambda file: (file.stem != FIRST, file.stem)
        )
        return [_read(file) for file in files]


def _read(file: Path) -> DayOutcome:
    try:
        return DayOutcome(**read_json(file))
    except (OSError, ValueError, TypeError) as error:
        raise IntegrityBroken(
            f"{file}: not a finished day: {error}", remedy="Remove it; the day is lived again."
        ) from error
