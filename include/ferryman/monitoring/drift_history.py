"""Keeps what each night's comparisons came to: <root>/<model>/drift/<window key>.json.

A window that is monitored again replaces its own night; what was told before is read from the
nights of earlier windows alone, so a night says the same however often, and after whatever, it is
run.
"""

from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ferryman.errors import IntegrityBroken
from ferryman.monitoring.drift_findings import Night
from ferryman.monitoring.drift_thresholds import KEPT
from ferryman.runtime.files import read_json, write_json
from ferryman.spec.windows import Window

_NIGHT = TypeAdapter(Night)


class DriftHistory:
    """The remembered nights of all models below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def file(self, model: str, window: Window) -> Path:
        """Where a window's night is kept."""
        return self._root / model / "drift" / f"{window.key}.json"

    def write(self, model: str, window: Window, night: Night) -> Path:
        """Keep a night, in place of an earlier one of the same window."""
        file = self.file(model, window)
        write_json(file, _NIGHT.dump_python(night, mode="json"))
        return file

    def before(self, model: str, start: datetime) -> list[Night]:
        """The nights of the 90 days before a moment, oldest first.

        IntegrityBroken (exit 7) names a file that is damaged.
        """
        first, last = (moment.strftime("%Y%m%dT%H%MZ") for moment in (start - KEPT, start))
        files = sorted((self._root / model / "drift").glob("*.json"))
        return [_read(file) for file in files if first <= file.stem < last]


def _read(file: Path) -> Night:
    try:
        return _NIGHT.validate_python(read_json(file))
    except (OSError, ValueError, ValidationError) as error:
        raise IntegrityBroken(
            f"{file}: not what drift remembers of a night: {str(error)[:200]}",
            remedy="Move the file away, and run monitor for that window again.",
        ) from error
