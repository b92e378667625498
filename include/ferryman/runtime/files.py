"""Files that are whole or absent, and digests of files and trees."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ferryman.errors import DependencyUnavailable

SCRATCH = "ferryman-"  # how folders for files that are still being written begin
_CHUNK = 1 << 20


@contextmanager
def space_errors(target: Path, need: int | None = None) -> Iterator[None]:
    """Turn a full disk into DependencyUnavailable (exit 6) that names the place, need and rest.

    `need` is the size in bytes of what is written, where that is known. The rest is measured after
    the block has ended, so a block that removes what it began tells it right.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        have = shutil.disk_usage(_existing_parent(target)).free
        wanted = f"need {need} bytes, have {have}" if need is not None else f"{have} bytes free"
        raise DependencyUnavailable(
            f"no space left for {target}: {wanted}", remedy="Free space, then run again."
        ) from error


def write_atomic(target: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that readers see the old bytes or the new, never a part."""
    with space_errors(target, need=len(content)):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).chmod(mode)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def json_bytes(value: Any) -> bytes:
    """A value as indented JSON with sorted keys, for people to read, too; NaN is refused."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    return text.encode() + b"\n"


def write_json(target: Path, value: Any, *, mode: int = 0o644) -> None:
    """Write a value as indented JSON, atomically; NaN is refused."""
    write_atomic(target, json_bytes(value), mode=mode)


def read_json(source: Path) -> Any:
    """Read a JSON file."""
    return json.loads(source.read_bytes())


@contextmanager
def created_once(target: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `target` when the block ends well.

    Where the target exists already (another writer won), the temporary one is dropped: equal names
    are equal content in every store that uses this. A crash leaves only a hidden temporary folder.
    """
    with space_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name[:16]}."))
        try:
            yield scratch
            scratch.chmod(0o755)
            _sync_tree(scratch)
            if not target.exists():
                try:
                    scratch.rename(target)
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def file_digest(file: Path) -> str:
    """The sha256 of a file's bytes, read in pieces."""
    total = hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(_CHUNK):
            total.update(piece)
    return total.hexdigest()


def tree_digest(files: dict[str, str]) -> str:
    """The sha256 over sorted (relative path, sha256) pairs."""
    lines = "".join(f"{name}\0{digest}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def resolve_inside(root: Path, relative: str) -> Path:
    """The path below a root; ValueError where it (or a symlink on the way) leads outside."""
    base = root.resolve()
    path = (base / relative).resolve()
    if path != base and base not in path.parents:
        raise ValueError(f"{relative!r} leads outside {base}")
    return path


def _existing_parent(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _sync_tree(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
