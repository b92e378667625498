"""Keeps what a model was declared as: <root>/<model>/declarations/<digest>.json, once a digest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ferryman.runtime.files import read_json, write_json

_LONGEST = 60  # characters of a value, for people
_NOTHING = object()


class Declarations:
    """The declarations of all models below one folder, by the digest of the model's folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def keep(self, model: str, digest: str, declared: Mapping[str, Any]) -> None:
        """Store a declaration; one that is there stays."""
        file = self._file(model, digest)
        if not file.is_file():
            write_json(file, dict(declared))

    def read(self, model: str, digest: str) -> dict[str, Any] | None:
        """What was declared then; None where it is not on record or cannot be read."""
        try:
            return dict(read_json(self._file(model, digest)))
        except (OSError, ValueError, TypeError):
            return None

    def _file(self, model: str, digest: str) -> Path:
        return self._root / model / "declarations" / f"{digest}.json"


def changed_keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Each key that is not as it was, such as `train.params.C: 1.0 -> 0.1`."""
    return _changed("", before, now)


def _changed(place: str, before: object, now: object) -> list[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return [
            line
            for key in sorted({*before, *now})
            for line in _changed(
                f"{place}.{key}".lstrip("."), before.get(key, _NOTHING), now.get(key, _NOTHING)
            )
        ]
    return [] if before == now else [f"{place}: {_shown(before)} -> {_shown(now)}"]


def _shown(value: object) -> str:
    text = "nothing" if value is _NOTHING or value is None else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
