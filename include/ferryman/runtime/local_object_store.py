"""Objects as files below a folder."""

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from ferryman.errors import DependencyUnavailable, PolicyRefused
from ferryman.runtime.files import resolve_inside, space_errors
from ferryman.runtime.object_store import check_key, check_name

_CHUNK = 1 << 20
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_AWAY = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE, errno.ETIMEDOUT)
_UNFINISHED = re.compile(r"\..+\.[a-z0-9_]{8}")  # as create() names its temporary files


class LocalObjectStore:
    """Keeps each object in a file; a hidden temporary file becomes it by a hard link."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self, key: str, content: bytes | Path) -> bool:
        """See ObjectStore.create; a full disk is DependencyUnavailable (exit 6)."""
        target = self._path(check_key(key))
        if target.exists():
            return False
        need = len(content) if isinstance(content, bytes) else content.stat().st_size
        with _place_errors(target), space_errors(target, need=need):
            scratch = _begin(target)
            try:
                _fill(scratch, content)
                os.link(scratch, target)  # unlike a rename, this fails where the target exists
            except FileExistsError:
                return False
            finally:
                scratch.unlink(missing_ok=True)
            _sync_folder(target.parent)
        return True

    def read(self, key: str) -> bytes | None:
        """See ObjectStore.read."""
        path = self._path(check_name(key))
        try:
            with _place_errors(path):
                return path.read_bytes()
        except _ABSENT:
            return None

    def open(self, key: str) -> BinaryIO | None:
        """See ObjectStore.open."""
        path = self._path(check_name(key))
        try:
            with _place_errors(path):
                return path.open("rb")
        except _ABSENT:
            return None

    def size(self, key: str) -> int | None:
        """See ObjectStore.size."""
        found = self._stat(key)
        return None if found is None else found.st_size

    def modified(self, key: str) -> datetime | None:
        """See ObjectStore.modified."""
        found = self._stat(key)
        return None if found is None else datetime.fromtimestamp(found.st_mtime, UTC)

    def keys(self, prefix: str) -> list[str]:
        """See ObjectStore.keys."""
        folder = self._path(check_name(prefix)) if prefix else self.root.resolve()
        return sorted(
            path.relative_to(self.root.resolve()).as_posix()
            for path in _files_below(folder)
            if not path.name.startswith(".")
        )

    def sweep(self, before: datetime, *, remove: bool) -> list[str]:
        """See ObjectStore.sweep."""
        found = []
        for path in _files_below(self.root.resolve()):
            if _UNFINISHED.fullmatch(path.name) and path.lstat().st_mtime < before.timestamp():
                found.append(path.relative_to(self.root.resolve()).as_posix())
                if remove:
                    path.unlink(missing_ok=True)
        return sorted(found)

    def delete(self, key: str) -> None:
        """See ObjectStore.delete; folders that it leaves empty go too."""
        path = self._path(check_key(key))
        path.unlink(missing_ok=True)
        root = self.root.resolve()
        for folder in path.parents:
            if folder == root or root not in folder.parents:
                return
            try:
                folder.rmdir()
            except OSError:  # not empty, or another process is quicker
                return

    def _stat(self, key: str) -> os.stat_result | None:
        path = self._path(check_name(key))
        try:
            with _place_errors(path):
                found = path.stat()
        except _ABSENT:
            return None
        return found if path.is_file() else None

    def uri(self, key: str) -> str:
        """See ObjectStore.uri."""
        return self._path(check_name(key)).as_uri()

    def _path(self, key: str) -> Path:
        try:
            return resolve_inside(self.root, key)
        except ValueError as error:
            raise PolicyRefused(
                f"{error}: nothing outside of it is read or written",
                remedy="Put the file itself there, not a link.",
            ) from error


def _begin(target: Path) -> Path:
    """A hidden temporary file beside the target."""
    while True:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:64]}.")
        except FileNotFoundError:  # a delete() at the same time has removed the empty folder
            continue
        os.close(handle)
        return Path(name)


def _fill(scratch: Path, content: bytes | Path) -> None:
    """Write all of it, down to the disk, readable by others."""
    with scratch.open("wb") as stream:
        if isinstance(content, bytes):
            stream.write(content)
        else:
            with content.open("rb") as source:
                while piece := source.read(_CHUNK):
                    stream.write(piece)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.chmod(0o644)


def _files_below(folder: Path) -> Iterator[Path]:
    """Every file; folders that vanish on the way are passed over."""
    for place, _, names in os.walk(folder):
        yield from (Path(place) / name for name in names)


@contextmanager
def _place_errors(path: Path) -> Iterator[None]:
    """Turn a disk that cannot be used into DependencyUnavailable (exit 6)."""
    try:
        yield
    except OSError as error:
        if error.errno not in _AWAY:
            raise
        raise DependencyUnavailable(
            f"{path}: {error.strerror}",
            remedy="Mount the disk and give its rights, then run again.",
        ) from error


def _sync_folder(folder: Path) -> None:
    """A crash after this keeps the new name."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
