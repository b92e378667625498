"""What is checked of a file before anything parses it: size, manifest, format, header, shape."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from ferryman.data.sources.compression import Caps, check_size, pieces
from ferryman.data.sources.csv_shape import CsvShape
from ferryman.data.sources.delivery import Delivery, DigestedStream
from ferryman.data.sources.json_lines import JsonLinesShape
from ferryman.data.sources.manifest import read_manifest
from ferryman.data.sources.parquet_shape import ParquetShape, check_parquet
from ferryman.data.sources.text_bytes import TextBytes
from ferryman.errors import DataRejected
from ferryman.spec.sources import FilesSourceSpec

_CUT = "The delivery is not complete: fetch the file again, then run the window again."


@dataclass(frozen=True)
class CheckedFile:
    """A file that may be parsed: the sha256 of its bytes, its size in bytes and its data rows.

    `header` names the columns of a CSV file; `multiline` says that its cells hold line breaks.
    """

    delivery: Delivery
    sha256: str
    size: int
    rows: int
    header: tuple[str, ...] = ()
    multiline: bool = False
    parquet: ParquetShape | None = None


def unpacked(
    delivery: Delivery, stream: DigestedStream, size: int, spec: FilesSourceSpec
) -> Iterator[bytes]:
    """The bytes of a text file in pieces, within the declared caps; see pieces."""
    caps = Caps(max_bytes=spec.max_bytes, max_ratio=spec.max_ratio)
    return pieces(stream, delivery.shown, packed=delivery.packed, size=size, caps=caps)


def check_file(delivery: Delivery, stream: BinaryIO, spec: FilesSourceSpec) -> CheckedFile:
    """Check a file in one pass over its bytes; `stream` is the delivery, opened.

    Raises DataRejected (exit 3) with file, line or byte and column; DependencyUnavailable (exit 6)
    where the file is being changed.
    """
    shown, size = delivery.shown, stream.seek(0, 2)
    stream.seek(0)
    check_size(size, spec.max_bytes, shown)
    manifest = read_manifest(delivery, required=spec.manifest == "required")
    manifest.compare(shown, {"bytes": size})
    digested = DigestedStream(stream)
    found: dict[str, Any]
    try:
        if delivery.format == "parquet":
            shape = check_parquet(delivery, stream, spec)
            found = {"rows": shape.rows, "parquet": shape}
            stream.seek(0)
        else:
            found = _check_text(delivery, digested, size, spec, vouched=manifest.vouches)
    except DataRejected:
        # That the bytes are not those that were sent is the better text where both are true.
        digested.drain()
        manifest.compare(shown, {"sha256": digested.sha256})
        raise
    digested.drain()
    if digested.size != size:
        raise delivery.changed(f"it had {size} bytes, {digested.size} came")
    manifest.compare(shown, {"sha256": digested.sha256, "rows": found["rows"]})
    if found["rows"] == 0:
        header = "a header and " if delivery.format == "csv" else ""
        raise DataRejected(f"{shown}: the file has {header}no rows", remedy=_CUT)
    return CheckedFile(delivery=delivery, sha256=digested.sha256, size=size, **found)


def _check_text(
    delivery: Delivery, digested: DigestedStream, size: int, spec: FilesSourceSpec, *, vouched: bool
) -> dict[str, Any]:
    """One pass over the (unpacked) bytes: encoding and shape; returns what is known of the file."""
    shown = delivery.shown
    text = TextBytes(shown)
    csv = delivery.format == "csv"
    shape = CsvShape(shown, spec.columns) if csv else JsonLinesShape(shown)
    for piece in unpacked(delivery, digested, size, spec):
        text.add(piece)
        shape.add(piece)
    text.finish()
    shape.finish(vouched=vouched)
    if isinstance(shape, CsvShape):
        return {"rows": shape.rows, "header": shape.header, "multiline": shape.multiline}
    return {"rows": shape.rows}
