"""The file of OpenLineage events of an installation, and its older parts.

Whoever tells an event opens the file, appends a line and closes it again. So the file may be
renamed at any time: what somebody is about to write goes to it under its new name.
"""

import fcntl
from datetime import UTC, datetime
from pathlib import Path

_LARGEST = 64 * 1024 * 1024
_KEPT = 10  # older parts


def events_file(home: Path) -> Path:
    """Where the events of an installation are appended."""
    return home / "lineage" / "events.jsonl"


def begin_anew(file: Path, largest: int = _LARGEST) -> Path | None:
    """Put a file that has grown too large aside, as events-<time>.jsonl; its new name, if it was.

    Nothing is lost, and one process does it at a time.
    """
    if not file.is_file():
        return None
    with (file.parent / ".rotation.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.is_file() or file.stat().st_size < largest:
            return None
        target = file.with_stem(f"{file.stem}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
        file.rename(target)
        return target


def older_parts(file: Path, kept: int = _KEPT) -> list[Path]:
    """The parts beyond the newest ones, the oldest first."""
    parts = sorted(file.parent.glob(f"{file.stem}-*{file.suffix}"))
    return parts[: max(0, len(parts) - kept)]
