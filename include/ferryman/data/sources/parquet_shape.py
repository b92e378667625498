"""The shape of a Parquet file: magic bytes, columns, size, and which rows its groups hold.

The footer's figures of a single column are not asked for: pyarrow ends the process where they are
damaged, and a writer may have put anything there. One column is read instead.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ferryman.data.rows.column_types import one_chunk, type_column
from ferryman.data.sources.delivery import Delivery
from ferryman.data.sources.header import check_names
from ferryman.errors import DataRejected
from ferryman.spec.sources import FilesSourceSpec
from ferryman.spec.windows import Window

CUT = "The delivery is not complete: fetch the file again, then run the window again."
BATCH_ROWS = 131_072
_BUFFER = 1 << 20
_MAGIC = b"PAR1"


@dataclass(frozen=True)
class RowGroup:
    """Some neighbouring rows: the first one's position, how many, and their time.

    `least` and `greatest` are pyarrow scalars; None where there is no event time, or where a row
    without one has to be read, to be judged.
    """

    first: int
    rows: int
    least: Any = None
    greatest: Any = None

    def may_hold(self, span: Window | None) -> bool:
        """Whether a row of the span may be in it."""
        if span is None or self.least is None:
            return True
        kind = self.least.type
        before = pc.less(self.least, pa.scalar(span.end, kind)).as_py()
        return bool(before and pc.greater_equal(self.greatest, pa.scalar(span.start, kind)).as_py())


@dataclass(frozen=True)
class ParquetShape:
    """What was seen of a file when it was checked."""

    rows: int
    footer: Any
    groups: tuple[RowGroup, ...]


@contextmanager
def told_of_damage(shown: str, what: str = "damaged") -> Iterator[None]:
    """What pyarrow cannot read is DataRejected (exit 3)."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())[:200]
        raise DataRejected(f"{shown}: {what}: {text}", remedy=CUT) from error


def each(shown: str, source: Any) -> Iterator[Any]:
    """The items of an iterable of pyarrow's."""
    items, end = iter(source), object()
    while True:
        with told_of_damage(shown):
            item = next(items, end)
        if item is end:
            return
        yield item


def open_parquet(shown: str, stream: BinaryIO) -> Any:
    """A pyarrow ParquetFile that reads in small pieces and holds checksums where there are some."""
    with told_of_damage(shown, "damaged Parquet footer"):
        return pq.ParquetFile(stream, buffer_size=_BUFFER, page_checksum_verification=True)


def batches_of(shown: str, file: Any, group: int, columns: Collection[str]) -> Iterator[Any]:
    """The rows of one row group in batches of some columns."""
    with told_of_damage(shown):
        source = file.iter_batches(
            BATCH_ROWS, row_groups=[group], columns=list(columns), use_threads=False
        )
    for batch in each(shown, source):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            with told_of_damage(shown, f"damaged: column {name!r}"):
                column.validate(full=True)  # reading does not: a text may be any bytes
        yield batch


def check_parquet(delivery: Delivery, stream: BinaryIO, spec: FilesSourceSpec) -> ParquetShape:
    """Check magic bytes, footer, columns and size. Raises DataRejected (exit 3)."""
    shown = delivery.shown
    _check_ends(shown, stream)
    file = open_parquet(shown, stream)
    with told_of_damage(shown, "damaged Parquet footer"):
        schema, rows = file.schema_arrow, int(file.metadata.num_rows)
        names = list(schema.names)
    check_names(names, spec.columns, shown)
    # A run of equal values is a few bytes in the file, and a whole column in memory.
    unpacked = rows * sum(_width(schema.field(name).type) for name in spec.columns)
    if unpacked > spec.max_bytes:
        raise DataRejected(
            f"{shown}: unpacks to {unpacked} bytes, more than max_bytes, {spec.max_bytes}",
            remedy="If it is meant to be that large, raise max_bytes of the source.",
        )
    groups: list[RowGroup] = []
    for index in range(file.metadata.num_row_groups):
        first = groups[-1].first + groups[-1].rows if groups else 0
        groups.append(_look_at(shown, file, index, first, spec))
    found = sum(group.rows for group in groups)
    if found != rows:
        raise DataRejected(f"{shown}: {found} rows, its footer says {rows}", remedy=CUT)
    return ParquetShape(rows, file.metadata, tuple(groups))


def _check_ends(shown: str, stream: BinaryIO) -> None:
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
            f"{shown}: truncated: a Parquet file ends with {_MAGIC!r}, {end}", remedy=CUT
        )


def _look_at(shown: str, file: Any, index: int, first: int, spec: FilesSourceSpec) -> RowGroup:
    """Count a group's rows and find the range of its times, by reading that one column."""
    name = spec.event_time or next(iter(spec.columns))
    rows, timed = 0, spec.event_time is not None
    ends: list[Any] = []
    for batch in batches_of(shown, file, index, [name]):
        rows += batch.num_rows
        if not timed or not batch.num_rows:
            continue
        column = one_chunk(pa.chunked_array([batch.column(0)]))
        times, _ = type_column(column, name, spec.columns[name], form="typed")
        if times.null_count:
            timed = False
        else:
            ends += [pc.min(times), pc.max(times)]
    if not timed or not ends:
        return RowGroup(first, rows)
    times = pa.array([end.value for end in ends], pa.int64()).cast(ends[0].type)
    return RowGroup(first, rows, pc.min(times), pc.max(times))


def _width(kind: Any) -> int:
    try:
        return int(kind.bit_width) // 8
    except ValueError:  # of no fixed width
        return 4
