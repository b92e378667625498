"""The highest fence that a server has seen of each model: so it knows a controller of yesterday."""

import asyncio
from pathlib import Path

from pydantic import TypeAdapter

from ferryman.errors import IntegrityBroken, Superseded
from ferryman.runtime.files import read_json, write_json

FENCES = "fences.json"
_FENCES = TypeAdapter(dict[str, int])


class Fences:
    """Remembered below `root`, over restarts; IntegrityBroken (exit 7) when that is damaged."""

    def __init__(self, root: Path) -> None:
        self._file = root / FENCES
        self._highest = _read(self._file)
        self._lock = asyncio.Lock()

    async def check(self, name: str, fence: int) -> None:
        """Superseded (exit 5) below the highest fence; else it is the highest from now on."""
        async with self._lock:
            highest = self._highest.get(name, 0)
            if fence < highest:
                raise Superseded(f"{name}: fence {fence} is below {highest}, which was seen")
            if fence > highest:
                changed = {**self._highest, name: fence}
                await asyncio.to_thread(write_json, self._file, changed)
                self._highest = changed


def _read(file: Path) -> dict[str, int]:
    if not file.is_file():
        return {}
    try:
        return _FENCES.validate_python(read_json(file))
    except ValueError as error:
        raise IntegrityBroken(
            f"{file} cannot be read: {error}",
            remedy="Remove it, once no release runs: it only tells old controllers from new ones.",
        ) from error
