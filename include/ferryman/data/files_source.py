"""Parquet and CSV files below the source root, as a source of typed rows."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ferryman.data.csv_shape import line_of_row
from ferryman.data.path_template import PathTemplate
from ferryman.data.prechecks import CheckedFile, check_file
from ferryman.data.quarantine import Origin, number_rows
from ferryman.data.row_intake import RowIntake
from ferryman.data.source import SourcePart, SourceRows
from ferryman.errors import DataRejected, DependencyUnavailable
from ferryman.spec.sources import FilesSourceSpec
from ferryman.spec.windows import Window

_KEPT_BYTES = 128 << 20


class FilesSource:
    """Reads declared files; each is checked once and then kept for the life of this object.

    Safe to read from several threads.
    """

    def __init__(
        self, name: str, spec: FilesSourceSpec, root: Path, *, max_rejected: float = 0.0
    ) -> None:
        self.name = name
        self.spec = spec
        self._root = root.resolve()
        self._template = PathTemplate(self._root, spec.path)
        self._max_rejected = max_rejected
        self._lock = Lock()
        self._checked: dict[str, CheckedFile] = {}
        self._raw: dict[tuple[str, int], Any] = {}

    def read(self, span: Window | None, required: Window | None = None) -> SourceRows:
        """See Source.read; DependencyUnavailable (exit 6) where the source root is not there."""
        if not self._root.is_dir():
            raise DependencyUnavailable(
                f"source {self.name!r}: no folder {self._root}",
                remedy="Mount it, or set FERRYMAN_SOURCE_ROOT.",
            )
        intake = RowIntake(self.name, self.spec, span, required, max_rejected=self._max_rejected)
        files = []
        with self._lock:
            for relative in self._present_paths(span, required):
                checked = self._check(relative)
                self._read_file(relative, checked, span, intake)
                files.append(SourcePart(relative, checked.sha256, checked.size, checked.rows))
            rows, cleaning = intake.finish()
        return SourceRows(
            table=rows.combine_chunks(),
            parts=tuple(files),
            query=self.spec.path,
            cleaning=cleaning,
        )

    def _present_paths(self, span: Window | None, required: Window | None) -> list[str]:
        """The files to read: all that the span touches, but for those before the first."""
        if span is None or "{" not in self.spec.path:
            wanted = must = [self.spec.path]
        else:
            wanted = self._template.paths(span)
            must = self._template.paths(required) if required is not None else []
        present = []
        for relative in wanted:
            if self._template.resolve(relative).is_file():
                present.append(relative)
            elif relative in must or present or not self._template.is_before_first(relative):
                raise DataRejected(
                    f"source {self.name!r}: no file {self._root / relative}, needed for "
                    f"{required or span}",
                    remedy="Deliver the file there, then run the window again.",
                )
        return present

    def _check(self, relative: str) -> CheckedFile:
        if relative not in self._checked:
            path = self._template.resolve(relative)
            self._checked[relative] = check_file(path, self.spec.columns)
        return self._checked[relative]

    def _read_file(
        self, relative: str, checked: CheckedFile, span: Window | None, intake: RowIntake
    ) -> None:
        is_csv = checked.path.suffix == ".csv"
        origin = Origin(
            part=relative,
            shown=str(checked.path),
            form="text" if is_csv else "typed",
            places=partial(_line_places, checked.path) if is_csv else number_rows,
        )
        try:
            if is_csv:
                intake.add(self._cached(relative, 0, lambda: _read_csv(checked)), 0, origin)
            else:
                self._add_row_groups(relative, checked, span, intake, origin)
        except (pa.ArrowException, OSError) as error:
            raise DataRejected(
                f"{checked.path}: damaged: {str(error)[:200]}",
                remedy="Fetch the file again, then run the window again.",
            ) from error

    def _add_row_groups(
        self,
        relative: str,
        checked: CheckedFile,
        span: Window | None,
        intake: RowIntake,
        origin: Origin,
    ) -> None:
        """Read the declared columns of the row groups that may hold rows of the span."""
        columns = list(self.spec.columns)
        with pq.ParquetFile(checked.path) as file:
            first = 0
            for index in range(file.metadata.num_row_groups):
                group = file.metadata.row_group(index)
                if span is None or _may_hold(group, self.spec.event_time, span):
                    number = index

                    def load(number: int = number) -> Any:
                        return file.read_row_group(number, columns=columns, use_threads=False)

                    intake.add(self._cached(relative, index, load), first, origin)
                first += group.num_rows

    def _cached(self, relative: str, part: int, load: Any) -> Any:
        """The raw rows of a file's part: neighbouring windows read the same few parts."""
        key = (relative, part)
        if key not in self._raw:
            self._raw[key] = load()
            while len(self._raw) > 1 and sum(t.nbytes for t in self._raw.values()) > _KEPT_BYTES:
                del self._raw[next(iter(self._raw))]
        return self._raw[key]


def _line_places(path: Path, positions: Sequence[int]) -> list[str]:
    return [f"line {line_of_row(path, position)}" for position in positions]


def _read_csv(checked: CheckedFile) -> Any:
    """Every cell as text: types are judged by our own rules, cell by cell."""
    with checked.path.open("rb") as stream:
        header = pyarrow.csv.open_csv(stream, parse_options=_csv_layout()).schema.names
    table = pyarrow.csv.read_csv(
        checked.path,
        read_options=pyarrow.csv.ReadOptions(use_threads=False),
        parse_options=_csv_layout(),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()),
            strings_can_be_null=False,
            quoted_strings_can_be_null=False,
        ),
    )
    if table.num_rows != checked.rows:
        raise DataRejected(f"{checked.path}: {table.num_rows} rows read, {checked.rows} counted")
    return table


def _csv_layout() -> Any:
    return pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)


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
        if not isinstance(figures.min, datetime) or not isinstance(figures.max, datetime):
            return True
        return _aware(figures.min) < span.end and _aware(figures.max) >= span.start
    return True


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
