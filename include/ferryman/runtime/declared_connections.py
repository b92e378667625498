"""Connections of the installation itself: FERRYMAN_CONNECTION_<NAME>, then connections.yaml."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from ferryman.errors import SpecError
from ferryman.runtime.connection_url import parse_connection
from ferryman.runtime.connections import Connection
from ferryman.settings import Settings
from ferryman.spec.mistakes import nearest

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PLACE = re.compile(r"{(\w*)}")


class DeclaredConnections:
    """Looks a name up in the environment, which may hold secrets, then in the project's file."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def get(self, name: str) -> Connection:
        """See Connections.get; SpecError (exit 2) for a wrong URL, too, which is never shown."""
        given = self._settings.connection_urls.get(name)
        if given is not None:
            return parse_connection(name, given.get_secret_value())
        declared = self._declared()
        if name in declared:
            return self._open(name, declared[name])
        meant = nearest(name[:100], sorted({*declared, *self._settings.connection_urls}))
        hint = f"; did you mean {meant!r}?" if meant else ""
        raise SpecError(
            f"no connection {name[:100]!r} is defined{hint}",
            remedy=f"Set FERRYMAN_CONNECTION_{name[:63].upper()}=URL, make an Airflow connection "
            f"of that name, or name it in {self._settings.connections_file} without a secret.",
        )

    def _declared(self) -> Mapping[str, str]:
        """The lines of the project's file, as they are written."""
        file = self._settings.connections_file
        if not file.is_file():
            return {}
        read = _read_mapping(file)
        for name, url in read.items():
            if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(url, str):
                raise SpecError(f"{file}: each line is `name: URL`; {str(name)[:80]!r} is not")
        return read

    def _open(self, name: str, url: str) -> Connection:
        """A connection of the file; one with a secret is refused."""
        file = self._settings.connections_file
        places = {"source_root": self._settings.source_root, "home": self._settings.home}

        def fill(match: re.Match[str]) -> str:
            if match.group(1) not in places:
                raise SpecError(
                    f"{file}: connection {name!r}: no place {match.group(0)[:80]!r}",
                    remedy="Places are {source_root} and {home}.",
                )
            return quote(str(places[match.group(1)]))

        # A path after `sqlite:///` or `file://` brings its own first slash along.
        opened = parse_connection(name, _PLACE.sub(fill, url))
        if opened.password is not None:
            raise SpecError(
                f"{file}: connection {name!r} holds a password, and this file is in the open",
                remedy=f"Set FERRYMAN_CONNECTION_{name.upper()}, or an Airflow connection.",
            )
        return opened


def _read_mapping(file: Path) -> dict[Any, Any]:
    try:
        read = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{file}: not readable: {type(error).__name__}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        # The parser's own text quotes the line, which might hold what does not belong there.
        raise SpecError(f"{file}: not YAML{line}") from None
    if read is not None and not isinstance(read, dict):
        raise SpecError(f"{file}: holds no mapping of names to URLs")
    return read or {}
