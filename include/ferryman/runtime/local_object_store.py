"""Objects as files below a folder."""

import os
import tempfile
from pathlib import Path
from typing import BinaryIO

from ferryman.errors import PolicyRefused
from ferryman.runtime.files import resolve_inside, space_errors
from ferryman.runtime.object_store import check_key, check_name

_CHUNK = 1 << 20


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
        with space_errors(target, need=need):
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:64]}.")
            scratch = Path(name)
            try:
                with os.fdopen(handle, "wb") as stream:
                    _fill(stream, content)
                    stream.flush()
                    os.fsync(stream.fileno())
                scratch.chmod(0o644)
                os.link(scratch, target)  # unlike a rename, this fails where the target exists
            except FileExistsError:
                return False
            finally:
                scratch.unlink(missing_ok=True)
            _sync_folder(target.parent)
        return True

    def read(self, key: str) -> bytes | None:
        """See ObjectStore.read."""
        try:
            return self._path(check_name(key)).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def open(self, key: str) -> BinaryIO | None:
        """See ObjectStore.open."""
        try:
            return self._path(check_name(key)).open("rb")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def size(self, key: str) -> int | None:
        """See ObjectStore.size."""
        try:
            return self._path(check_name(key)).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def keys(self, prefix: str) -> list[str]:
        """See ObjectStore.keys."""
        folder = self._path(check_name(prefix)) if prefix else self.root.resolve()
        return sorted(
            path.relative_to(self.root.resolve()).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        )

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


def _fill(stream: BinaryIO, content: bytes | Path) -> None:
    if isinstance(content, bytes):
        stream.write(content)
        return
    with content.open("rb") as source:
        while piece := source.read(_CHUNK):
            stream.write(piece)


def _sync_folder(folder: Path) -> None:
    """A crash after this keeps the new name."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
