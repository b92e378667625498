"""The raw rows of a checked file, block by block: memory holds one block, not the file."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ferryman.data.block_cache import Block, BlockCache
from ferryman.data.compression import PiecesStream
from ferryman.data.csv_shape import CsvShape
from ferryman.data.delivery import DigestedStream
from ferryman.data.json_lines import JsonLinesReader
from ferryman.data.prechecks import CheckedFile, unpacked
from ferryman.errors import DataRejected
from ferryman.spec.sources import FilesSourceSpec
from ferryman.spec.windows import Window

_CSV_BLOCK = 4 << 20  # bytes; a row is 1 MiB at most, so no row reaches over two ends of blocks
_PARQUET_ROWS = 131_072
_BUFFER = 1 << 20
_DAY = timedelta(days=1)
_AGAIN = "Fetch the file again, then run the window again."


Opening = Callable[[], BinaryIO]


def read_blocks(
    checked: CheckedFile,
    opening: Opening,
    spec: FilesSourceSpec,
    span: Window | None,
    cache: BlockCache,
) -> Iterator[Block]:
    """The blocks of a file that may hold rows of the span.

    `opening` gives the delivery as a stream, and is called only for what is not kept in the cache.
    Raises DataRejected (exit 3) for damage that shows only now, DependencyUnavailable (exit 6)
    where the bytes are not those that were checked.
    """
    key = checked.delivery.key
    if checked.delivery.format != "parquet":
        return cache.through(key, lambda: _text_blocks(checked, opening(), spec))
    return _parquet_blocks(checked, opening, spec, span, cache)


def _text_blocks(checked: CheckedFile, stream: BinaryIO, spec: FilesSourceSpec) -> Iterator[Block]:
    delivery = checked.delivery
    stream.seek(0)
    digested = DigestedStream(stream)
    source = unpacked(delivery, digested, checked.size, spec)
    count = 0
    read = _csv_blocks if delivery.format == "csv" else _json_blocks
    for block in read(checked, source, spec):
        count += block.raw.num_rows
        yield block
    digested.drain()
    if digested.sha256 != checked.sha256:
        raise delivery.changed("its bytes are no longer those that were checked")
    if count != checked.rows:
        raise DataRejected(f"{delivery.shown}: {count} rows read, {checked.rows} counted")


def _csv_blocks(
    checked: CheckedFile, source: Iterator[bytes], spec: FilesSourceSpec
) -> Iterator[Block]:
    """Every cell as text: types are judged by our own rules, cell by cell."""
    with io.BufferedReader(PiecesStream(source), _BUFFER) as file:
        with _told_of_damage(checked):
            reader = pyarrow.csv.open_csv(file, **_csv_options(checked, spec))
        first = 0
        for batch in _each(checked, reader):
            yield Block(pa.Table.from_batches([batch]), first)
            first += batch.num_rows


def _csv_options(checked: CheckedFile, spec: FilesSourceSpec) -> dict[str, Any]:
    layout = pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
    cells = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(checked.header, pa.string()),
        include_columns=list(spec.columns),
        strings_can_be_null=False,
        quoted_strings_can_be_null=False,
    )
    reading = pyarrow.csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK)
    return {"read_options": reading, "parse_options": layout, "convert_options": cells}


def _json_blocks(
    checked: CheckedFile, source: Iterator[bytes], spec: FilesSourceSpec
) -> Iterator[Block]:
    first = 0
    reader = JsonLinesReader(checked.delivery.shown, spec.columns)
    for raw, misfits in reader.tables(source):
        yield Block(raw, first, misfits)
        first += raw.num_rows


def _parquet_blocks(
    checked: CheckedFile,
    opening: Opening,
    spec: FilesSourceSpec,
    span: Window | None,
    cache: BlockCache,
) -> Iterator[Block]:
    """The declared columns of the row groups that may hold rows of the span."""
    opened: list[Any] = []
    first = 0
    for index in range(checked.footer.num_row_groups):
        group = checked.footer.row_group(index)
        if span is None or _may_hold(group, spec.event_time, span):

            def load(index: int = index, first: int = first) -> Iterator[Block]:
                if not opened:
                    opened.append(_open_parquet(checked, opening()))
                return _group_blocks(checked, opened[0], spec, index, first)

            yield from cache.through((checked.delivery.key, index), load)
        first += group.num_rows


def _open_parquet(checked: CheckedFile, stream: BinaryIO) -> Any:
    with _told_of_damage(checked):
        file = pq.ParquetFile(stream, buffer_size=_BUFFER, page_checksum_verification=True)
    # The footer holds place, size and range of every column: other data has another one.
    if not file.metadata.equals(checked.footer):
        raise checked.delivery.changed("its footer is no longer the one that was checked")
    return file


def _group_blocks(
    checked: CheckedFile, file: Any, spec: FilesSourceSpec, index: int, first: int
) -> Iterator[Block]:
    expected, count = checked.footer.row_group(index).num_rows, 0
    batches = file.iter_batches(
        _PARQUET_ROWS, row_groups=[index], columns=list(spec.columns), use_threads=False
    )
    for batch in _each(checked, batches):
        yield Block(pa.Table.from_batches([batch]), first + count)
        count += batch.num_rows
    if count != expected:
        raise DataRejected(
            f"{checked.delivery.shown}: {count} rows in row group {index + 1}, its footer says "
            f"{expected}",
            remedy=_AGAIN,
        )


@contextmanager
def _told_of_damage(checked: CheckedFile) -> Iterator[None]:
    """What pyarrow cannot read is DataRejected (exit 3)."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise DataRejected(f"{checked.delivery.shown}: damaged: {text}", remedy=_AGAIN) from error


def _each(checked: CheckedFile, source: Any) -> Iterator[Any]:
    """The items of an iterable of pyarrow's."""
    items, end = iter(source), object()
    while True:
        with _told_of_damage(checked):
            item = next(items, end)
        if item is end:
            return
        yield item


def _may_hold(group: Any, event_time: str | None, span: Window) -> bool:
    """Whether a row group's statistics leave room for rows of the span."""
    for index in range(group.num_columns):
        column = group.column(index)
        if column.path_in_schema != event_time:
            continue
        figures = column.statistics
        # Rows without a time must be read, to be rejected.
        if figures is None or not figures.has_min_max or figures.null_count:
            return True
        try:
            least, greatest = figures.min, figures.max
        except (OverflowError, ValueError):  # times that Python does not know, to be rejected too
            return True
        if not isinstance(least, datetime) or not isinstance(greatest, datetime):
            return True
        return _aware(least, -_DAY) < span.end and _aware(greatest, _DAY) >= span.start
    return True


def _aware(moment: datetime, widened: timedelta) -> datetime:
    """A moment in UTC; one without a zone may be some hours off, so its bound is widened."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC) + widened


def lines_of_rows(checked: CheckedFile, spec: FilesSourceSpec) -> Any:
    """The line on which each data row of a CSV file begins, by a pass of its own; int64 array."""
    shape = CsvShape(checked.delivery.shown, spec.columns, keep_lines=True)
    with checked.delivery.opened() as stream:
        for piece in unpacked(checked.delivery, DigestedStream(stream), checked.size, spec):
            shape.add(piece)
        shape.finish(vouched=True)
    if shape.rows != checked.rows:
        raise checked.delivery.changed(f"it has no longer {checked.rows} rows")
    return shape.row_lines()
