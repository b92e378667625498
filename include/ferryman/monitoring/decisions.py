"""Keeps decisions: <root>/<model>/decisions/<window key>.json, one file a window."""

from pathlib import Path

from ferryman.errors import IntegrityBroken
from ferryman.monitoring.retraining import Decision
from ferryman.runtime.files import read_json, write_json
from ferryman.spec.windows import Window


class Decisions:
    """The stored decisions of all models below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def file(self, model: str, window: Window) -> Path:
        """Where a window's decision is kept."""
        return self._root / model / "decisions" / f"{window.key}.json"

    def write(self, model: str, window: Window, decision: Decision) -> Path:
        """Store a window's decision, in place of an earlier one of the same window."""
        file = self.file(model, window)
        write_json(file, decision.as_json())
        return file

    def read(self, model: str) -> list[Decision]:
        """All decisions, by window; IntegrityBroken (exit 7) names a file that is damaged."""
        return [_read(file) for file in sorted((self._root / model / "decisions").glob("*.json"))]


def _read(file: Path) -> Decision:
    try:
        return Decision(**read_json(file))
    except (OSError, ValueError, TypeError) as error:
        raise IntegrityBroken(
            f"{file}: not a decision: {error}",
            remedy="Move the file away and run decide_retrain for that window again.",
        ) from error
