"""When a window was looked at: what a later look at it counts as known."""

from datetime import datetime
from pathlib import Path

from ferryman.runtime.files import read_json
from ferryman.spec.windows import Window, format_time

LOOKED_AT = "looked_at"  # of a report


def report_file(root: Path, model: str, window: Window) -> Path:
    """Where the report of a window is."""
    return root / model / "reports" / f"{window.key}.json"


def first_look(file: Path, window: Window) -> datetime | None:
    """When a window's night first looked at it; None where its report cannot tell."""
    try:
        report = read_json(file)
        same = datetime.fromisoformat(report["window"]["end"]) == window.end
        return datetime.fromisoformat(report[LOOKED_AT]) if same else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def told_look(file: Path, window: Window, now: datetime) -> str:
    """What a report says of when its window was looked at: the first time, however often it is."""
    return format_time(first_look(file, window) or now)
