"""What is checked of a file before anything parses it: size, manifest, format, header, shape."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from ferryman.data.compression import Caps, check_size, pieces
from ferryman.data.csv_shape import CsvShape
from ferryman.data.delivery import Delivery, DigestedStream
from ferryman.data.header import check_names
from ferryman.data.json_lines import JsonLinesShape
from ferryman.data.manifest import read_manifest
from ferryman.data.text_bytes import TextBytes
from ferryman.errors import DataRejected
from ferryman.spec.sources import FilesSourceSpec

_MAGIC = b"PAR1"
_CUT = "The delivery is not complete: fetch the file again, then run the window again."


@dataclass(frozen=True)
class CheckedFile:
    """A file that may be parsed: the sha256 of its bytes, its size in bytes and its data rows.

    `header` names the columns of a CSV file; `multiline` says that its cells hold line breaks.
    `footer` is the metadata of a Parquet file.
    """

    delivery: Delivery
    sha256: str
    size: int
    rows: int
    header: tuple[str, ...] = ()
    multiline: bool = False
    footer: Any = None


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
    try:
        if delivery.format == "parquet":
            found = _check_parquet(delivery, stream, spec)
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


def _check_parquet(delivery: Delivery, stream: BinaryIO, spec: FilesSourceSpec) -> dict[str, Any]:
    """Magic bytes at both ends, a readable footer, the declared columns, a size that is allowed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    shown = delivery.shown
    head = stream.read(4)
    size = stream.seek(0, 2)
    stream.seek(-min(4, size), 2)
    tail = stream.read(4)
    stream.seek(0)
    if head != _MAGIC:
        raise DataRejected(f"{shown}: not a Parquet file: it begins with {head!r}, not {_MAGIC!r}")
    if tail != _MAGIC or size < 12:
        end = f"this one with {tail!r}" if size >= 12 else f"this one has {size} bytes in all"
        raise DataRejected(
            f"{shown}: truncated: a Parquet file ends with {_MAGIC!r}, {end}", remedy=_CUT
        )
    try:
        file = pq.ParquetFile(stream)
        schema, footer = file.schema_arrow, file.metadata
        unpacked = _unpacked_size(schema, footer, spec.columns)
    except (pa.ArrowException, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise DataRejected(f"{shown}: damaged Parquet footer: {text}", remedy=_CUT) from error
    check_names(schema.names, spec.columns, shown)
    if unpacked > spec.max_bytes:
        raise DataRejected(
            f"{shown}: unpacks to {unpacked} bytes, more than max_bytes, {spec.max_bytes}",
            remedy="If it is meant to be that large, raise max_bytes of the source.",
        )
    return {"rows": int(footer.num_rows), "footer": footer}


def _unpacked_size(schema: Any, footer: Any, columns: Collection[str]) -> int:
    """The bytes that a file's columns take unpacked, as far as its footer tells."""
    groups = sum(footer.row_group(n).total_byte_size for n in range(footer.num_row_groups))
    # A run of equal values is a few bytes in the file, and a whole column in memory.
    widths = sum(_width(schema.field(name).type) for name in columns if name in schema.names)
    return max(int(groups), int(footer.num_rows) * widths)


def _width(kind: Any) -> int:
    try:
        return int(kind.bit_width) // 8
    except ValueError:  # of no fixed width
        return 4
