"""Connections of the installation itself: FERRYMAN_CONNECTION_<NAME>, then connections.yaml."""

import difflib
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import yaml

from ferryman.errors import SpecError
from ferryman.runtime.connections import Connection
from ferryman.settings import Settings

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PLACE = re.compile(r"{(source_root|home)}")
# The query part of these URLs is ours; a database driver may need its own.
_OUR_OPTIONS = ("s3", "http", "https", "file")


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
            return declared[name]
        known = sorted({*declared, *self._settings.connection_urls})
        meant = difflib.get_close_matches(name[:100], known, n=1)
        hint = f"; did you mean {meant[0]!r}?" if meant else ""
        raise SpecError(
            f"no connection {name[:100]!r} is defined{hint}",
            remedy=f"Set FERRYMAN_CONNECTION_{name[:63].upper()}=URL, make an Airflow connection "
            f"of that name, or name it in {self._settings.connections_file} without a secret.",
        )

    def _declared(self) -> dict[str, Connection]:
        """The connections of the project's file; those with a secret are refused."""
        file = self._settings.connections_file
        if not file.is_file():
            return {}
        read = _read_mapping(file)
        places = {"source_root": str(self._settings.source_root), "home": str(self._settings.home)}
        found = {}
        for name, url in read.items():
            if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(url, str):
                raise SpecError(f"{file}: each line is `name: URL`; {str(name)[:80]!r} is not")
            filled = _PLACE.sub(lambda match: places[match.group(1)], url)
            found[name] = parse_connection(name, filled)
            if found[name].password is not None:
                raise SpecError(
                    f"{file}: connection {name!r} holds a password, and this file is in the open",
                    remedy=f"Set FERRYMAN_CONNECTION_{name.upper()}, or an Airflow connection.",
                )
        return found


def parse_connection(name: str, url: str) -> Connection:
    """Take login, password and our options out of a URL; an error never shows what was given."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        raise SpecError(f"connection {name!r}: not a URL") from None
    scheme = parts.scheme.partition("+")[0]
    if not scheme or "://" not in url:
        raise SpecError(
            f"connection {name!r}: not a URL",
            remedy="Write it as postgresql://user:password@host/database, s3://bucket/prefix, "
            "https://api.example/v2, sqlite:////path or file:///folder.",
        )
    ours = scheme in _OUR_OPTIONS
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    if scheme == "s3":
        host = parts.netloc.rpartition("@")[2]  # a bucket's name keeps its case
        port = ""
    query = "" if ours else parts.query
    bare = urlunsplit((parts.scheme, host + port, parts.path, query, ""))
    if not host and url.startswith(f"{parts.scheme}://"):
        bare = f"{parts.scheme}://{parts.path}" + (f"?{query}" if query else "")
    return Connection(
        name=name,
        url=bare,
        login=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        options=dict(parse_qsl(parts.query)) if ours else {},
    )


def _read_mapping(file: Path) -> dict[Any, Any]:
    try:
        read = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpecError(f"{file}: not readable: {error}") from error
    if read is not None and not isinstance(read, dict):
        raise SpecError(f"{file}: holds no mapping of names to URLs")
    return read or {}
