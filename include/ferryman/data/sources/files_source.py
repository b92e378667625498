"""CSV, JSON lines and Parquet files on a disk or in a bucket, as a source of typed rows."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from threading import Lock

from ferryman.data.rows.column_types import CellForm
from ferryman.data.rows.judgement import Judgement
from ferryman.data.rows.quarantine import Origin, number_rows
from ferryman.data.rows.row_intake import RowIntake
from ferryman.data.sources.block_cache import BlockCache
from ferryman.data.sources.compression import check_size
from ferryman.data.sources.delivery import Delivery
from ferryman.data.sources.file_blocks import lines_of_rows, read_blocks
from ferryman.data.sources.path_template import PathTemplate
from ferryman.data.sources.prechecks import CheckedFile, check_file
from ferryman.data.sources.source import SourcePart, SourceRows
from ferryman.errors import DataRejected, DependencyUnavailable
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.object_store import ObjectStore
from ferryman.spec.sources import FilesSourceSpec, describe
from ferryman.spec.windows import Window

_KEPT_BYTES = 128 << 20
_FORMS: Mapping[str, CellForm] = {"csv": "text", "jsonl": "json", "parquet": "typed"}

logger = logging.getLogger(__name__)


class FilesSource:
    """Reads declared files; each is checked once and then taken as checked by this object.

    The last files read are kept in memory, up to a bound, as neighbouring windows read the same
    ones. Safe to use from several threads.
    """

    def __init__(
        self, name: str, spec: FilesSourceSpec, store: ObjectStore, *, max_rejected: float = 0.0
    ) -> None:
        self.name = name
        self.spec = spec
        self._store = store
        self._template = PathTemplate(store, spec.path)
        self._max_rejected = max_rejected
        self._lock = Lock()
        self._checked: dict[str, CheckedFile] = {}
        self._kept = BlockCache(_KEPT_BYTES)

    def read(
        self,
        span: Window | None,
        required: Window | None = None,
        judgement: Judgement | None = None,
    ) -> SourceRows:
        """See Source.read; DependencyUnavailable (exit 6) where the place is not there.

        Files with the same bytes are one delivery under several names: the first is read.
        """
        if isinstance(self._store, LocalObjectStore) and not self._store.root.is_dir():
            raise DependencyUnavailable(
                f"source {self.name!r}: no folder {self._store.root}",
                remedy="Mount it, or set FERRYMAN_SOURCE_ROOT or the source's connection.",
            )
        judged = judgement or Judgement(required)
        intake = RowIntake(self.name, self.spec, span, judged, max_rejected=self._max_rejected)
        parts: list[SourcePart] = []
        seen: dict[str, str] = {}
        with self._lock:
            for key in self._present_files(span, required):
                checked = self._read_file(key, span, intake, seen)
                first = seen.setdefault(checked.sha256, key)
                if first != key:
                    logger.warning(
                        "source %r: %s has the bytes of %s: read once", self.name, key, first
                    )
                rows = checked.rows if first == key else 0
                parts.append(SourcePart(key, checked.sha256, checked.size, rows))
        table, cleaning = intake.finish()
        return SourceRows(table, tuple(parts), describe(self.spec), cleaning)

    def _present_files(self, span: Window | None, required: Window | None) -> list[str]:
        """The files to read: all that the span touches, but for those before the first."""
        wanted = self._template.paths(span)
        dated = span is not None and self._template.is_dated
        must = wanted
        if dated:
            must = self._template.paths(required) if required is not None else []
        present: list[str] = []
        for path in wanted:
            found = self._template.present(path)
            optional = dated and path not in must and not present
            if not found and not (optional and self._template.is_before_first(path)):
                raise DataRejected(
                    f"source {self.name!r}: no file {Delivery(self._store, path).shown}"
                    + (f", needed for {required or span}" if span is not None else ""),
                    remedy="Deliver the file there, then run the window again.",
                )
            present += found
        return present

    def _read_file(
        self, key: str, span: Window | None, intake: RowIntake, seen: Mapping[str, str]
    ) -> CheckedFile:
        """Check a file and hand its rows over, unless its bytes were seen under another name."""
        delivery = Delivery(self._store, key)
        with ExitStack() as ended:
            opening = cache(lambda: ended.enter_context(delivery.opened()))
            checked = self._checked.get(key)
            if checked is None:
                size = self._store.size(key)
                if size is not None:  # else opening tells that it is gone
                    # Before it is opened: from a bucket, opening fetches it.
                    check_size(size, self.spec.max_bytes, delivery.shown)
                checked = self._checked[key] = check_file(delivery, opening(), self.spec)
            if checked.sha256 in seen:
                return checked
            origin = Origin(key, delivery.shown, _FORMS[delivery.format], self._places(checked))
            for block in read_blocks(checked, opening, self.spec, span, self._kept):
                intake.add(block.raw, block.first, origin, block.misfits)
        return checked

    def _places(self, checked: CheckedFile) -> Callable[[Sequence[int]], list[str]]:
        """Turns positions of rows into the places that messages and quarantine name."""
        if checked.delivery.format == "parquet":
            return number_rows
        if checked.multiline:
            lines = cache(lambda: lines_of_rows(checked, self.spec))
            return lambda rows: [f"line {lines()[row]}" for row in rows]
        above = 2 if checked.delivery.format == "csv" else 1  # the header, and counting from 1
        return lambda rows: [f"line {row + above}" for row in rows]
