"""The administration token: made at the first start, kept in a file that only its owner reads."""

import os
import secrets
from pathlib import Path

from ferryman.errors import DependencyUnavailable, PolicyRefused


def make_token(file: Path) -> str:
    """The token of a file, made if there is none; PolicyRefused (exit 9) if others may read it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_token(file)
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(secrets.token_urlsafe(32))
    return read_token(file)


def read_token(file: Path) -> str:
    """The token; DependencyUnavailable (exit 6) before the server's first start."""
    try:
        mode = file.stat().st_mode
        token = file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise DependencyUnavailable(
            f"no administration token at {file}",
            remedy="Start the server: ferryman serve --detach.",
        ) from None
    if mode & 0o077:
        raise PolicyRefused(
            f"{file} can be read by others (mode {mode & 0o777:o})",
            remedy="Remove it and restart the server: it makes a new one with mode 600.",
        )
    if len(token) < 32:
        raise DependencyUnavailable(f"{file} holds no token yet", remedy="Remove it and restart.")
    return token
