"""What is checked of a file before anything parses it: size, manifest, format, header, shape."""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ferryman.data.csv_shape import CsvBytes, check_csv_shape
from ferryman.data.header import check_names
from ferryman.errors import DataRejected, DependencyUnavailable

MANIFEST_SUFFIX = ".manifest.json"
_MAGIC = b"PAR1"
_CHUNK = 1 << 20
_CUT = "The delivery is not complete: fetch the file again, then run the window again."


@dataclass(frozen=True)
class CheckedFile:
    """A file that may be parsed: where it is, the sha256 of its bytes, its size and data rows."""

    path: Path
    sha256: str
    size: int
    rows: int


def check_file(path: Path, columns: Collection[str]) -> CheckedFile:
    """Check a Parquet or CSV file; `columns` are those declared.

    Raises DataRejected (exit 3) with file, line or byte and column; DependencyUnavailable (exit 6)
    where the file cannot be opened.
    """
    is_csv = path.suffix == ".csv"
    try:
        size = path.stat().st_size
        if size == 0:
            raise DataRejected(f"{path}: the file is empty (0 bytes)", remedy=_CUT)
        manifest = _read_manifest(path)
        text = CsvBytes(path) if is_csv else None
        sha256 = _digest(path, text)
        _compare(path, manifest, {"bytes": size, "sha256": sha256})
        if text is not None:
            text.finish()
            rows = check_csv_shape(path, columns)
        else:
            rows = _check_parquet(path, columns)
    except PermissionError as error:
        raise DependencyUnavailable(
            f"{path}: not readable: {error.strerror}", remedy="Allow this user to read the file."
        ) from error
    _compare(path, manifest, {"rows": rows})
    if rows == 0:
        raise DataRejected(f"{path}: the file has a header and no rows", remedy=_CUT)
    return CheckedFile(path=path, sha256=sha256, size=size, rows=rows)


def _digest(path: Path, text: CsvBytes | None) -> str:
    """The sha256 of the bytes, which the CSV checks look at on the way."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(_CHUNK):
            total.update(piece)
            if text is not None:
                text.add(piece)
    return total.hexdigest()


def _read_manifest(path: Path) -> dict[str, object]:
    """The sidecar `<file>.manifest.json`: bytes, sha256, rows, each optional."""
    sidecar = path.with_name(path.name + MANIFEST_SUFFIX)
    if not sidecar.is_file():
        return {}
    try:
        value = json.loads(sidecar.read_bytes())
    except ValueError as error:
        raise DataRejected(f"{sidecar}: not JSON: {error}") from error
    known = {"bytes", "sha256", "rows"}
    if not isinstance(value, dict) or not set(value) <= known:
        raise DataRejected(f"{sidecar}: holds other keys than {', '.join(sorted(known))}")
    return value


def _compare(path: Path, manifest: dict[str, object], found: dict[str, object]) -> None:
    for key, value in found.items():
        if key in manifest and manifest[key] != value:
            raise DataRejected(
                f"{path}: {key} is {value}, its manifest says {str(manifest[key])[:80]}",
                remedy=_CUT,
            )


def _check_parquet(path: Path, columns: Collection[str]) -> int:
    """Magic bytes at both ends, a readable footer, the declared columns; returns the row count."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("rb") as stream:
        head = stream.read(4)
        stream.seek(-min(4, path.stat().st_size), 2)
        tail = stream.read(4)
    if head != _MAGIC:
        raise DataRejected(f"{path}: not a Parquet file: it begins with {head!r}, not {_MAGIC!r}")
    if tail != _MAGIC or path.stat().st_size < 12:
        raise DataRejected(
            f"{path}: truncated: a Parquet file ends with {_MAGIC!r}, this one with {tail!r}",
            remedy=_CUT,
        )
    try:
        with pq.ParquetFile(path) as file:
            names, rows = file.schema_arrow.names, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataRejected(
            f"{path}: damaged Parquet footer: {str(error)[:200]}", remedy=_CUT
        ) from error
    check_names(names, columns, str(path))
    return int(rows)
