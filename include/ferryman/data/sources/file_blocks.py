"""The raw rows of a checked file, block by block: memory holds one block, not the file."""

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv

from ferryman.data.sources.block_cache import Block, BlockCache
from ferryman.data.sources.compression import PiecesStream
from ferryman.data.sources.csv_shape import CsvShape
from ferryman.data.sources.delivery import DigestedStream
from ferryman.data.sources.json_lines import JsonLinesReader
from ferryman.data.sources.parquet_shape import (
    CUT,
    RowGroup,
    batches_of,
    each,
    open_parquet,
    told_of_damage,
)
from ferryman.data.sources.prechecks import CheckedFile, unpacked
from ferryman.errors import DataRejected
from ferryman.spec.sources import FilesSourceSpec
from ferryman.spec.windows import Window

_CSV_BLOCK = 4 << 20  # bytes; a row is 1 MiB at most, so no row reaches over two ends of blocks
_BUFFER = 1 << 20


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
        with told_of_damage(checked.delivery.shown):
            reader = pyarrow.csv.open_csv(file, **_csv_options(checked, spec))
        first = 0
        for batch in each(checked.delivery.shown, reader):
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

    def load(index: int) -> Iterator[Block]:
        if not opened:
            opened.append(_reopen_parquet(checked, opening()))
        return _group_blocks(checked, opened[0], spec, index)

    for index, group in enumerate(_groups(checked)):
        if group.may_hold(span):
            yield from cache.through((checked.delivery.key, index), partial(load, index))


def _groups(checked: CheckedFile) -> Sequence[RowGroup]:
    return checked.parquet.groups if checked.parquet is not None else ()


def _reopen_parquet(checked: CheckedFile, stream: BinaryIO) -> Any:
    file = open_parquet(checked.delivery.shown, stream)
    # The footer holds place, size and range of every column: other data has another one.
    if checked.parquet is None or not file.metadata.equals(checked.parquet.footer):
        raise checked.delivery.changed("its footer is no longer the one that was checked")
    return file


def _group_blocks(
    checked: CheckedFile, file: Any, spec: FilesSourceSpec, index: int
) -> Iterator[Block]:
    shown, group = checked.delivery.shown, _groups(checked)[index]
    count = size = 0
    for batch in batches_of(shown, file, index, spec.columns):
        size += batch.nbytes
        if size > spec.max_bytes:
            raise DataRejected(
                f"{shown}: unpacks to more than max_bytes, {spec.max_bytes}",
                remedy="If it is meant to be that large, raise max_bytes of the source.",
            )
        yield Block(pa.Table.from_batches([batch]), group.first + count)
        count += batch.num_rows
    if count != group.rows:
        raise DataRejected(
            f"{shown}: {count} rows in row group {index + 1}, one column has {group.rows}",
            remedy=CUT,
        )


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
