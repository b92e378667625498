"""The port to kept bytes: objects under keys, written once, on a disk or in a bucket.

Nothing is ever overwritten: `create` is the only way in and succeeds once a key, so that it is both
an atomic write and the compare-and-set on which publications rest. A key is a relative path of
plain names, such as `flights/snapshots/ab12/entry.json`; what others have put there may be read
under any name, with blanks and umlauts.
"""

import re
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from ferryman.errors import PolicyRefused

_KEY = re.compile(r"[A-Za-z0-9_.=+@{}-]+(/[A-Za-z0-9_.=+@{}-]+)*")


class ObjectStore(Protocol):
    """Bytes by key. Every method raises DependencyUnavailable (exit 6) when the place is away."""

    def create(self, key: str, content: bytes | Path) -> bool:
        """Write an object whole, from bytes or a file; False, and no change, where the key exists.

        Of several writers at once exactly one gets True.
        """
        ...

    def read(self, key: str) -> bytes | None:
        """The object's bytes, or None where there is none; a short answer is never returned."""
        ...

    def open(self, key: str) -> BinaryIO | None:
        """The object as a seekable binary file, or None; for what need not be in memory whole."""
        ...

    def size(self, key: str) -> int | None:
        """The object's size in bytes, or None where there is none."""
        ...

    def modified(self, key: str) -> datetime | None:
        """When the object was written, UTC, by the clock of the place; None where there is none."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """The keys below a folder-like prefix (`flights/snapshots`), sorted; unfinished ones not.

        For showing and for searching; what must be right asks for the key itself.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove an object; no error where there is none."""
        ...

    def sweep(self, before: datetime, *, remove: bool) -> list[str]:
        """Names of what killed writers left unfinished before a moment; removed where asked."""
        ...

    def uri(self, key: str) -> str:
        """The address of an object, for people and for lineage; without secrets."""
        ...


def check_key(key: str) -> str:
    """The key itself; PolicyRefused (exit 9) where it could lead anywhere else."""
    if not _KEY.fullmatch(key) or any(set(part) <= {"."} for part in key.split("/")):
        raise PolicyRefused(f"{key[:100]!r} is not a key: plain names, joined by '/'")
    return key


def check_name(key: str) -> str:
    """The key of something to read, whose name others chose; PolicyRefused (exit 9) as above."""
    plain = key.isprintable() and "\\" not in key
    if not plain or any(set(part) <= {"."} for part in key.split("/")):
        raise PolicyRefused(
            f"{key[:100]!a} is not a name that is read: it holds unprintable characters or leads "
            "elsewhere",
            remedy="Rename the file.",
        )
    return key
