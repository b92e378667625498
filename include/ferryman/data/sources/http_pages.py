"""What the pages of an API have said so far: a page that contradicts it is refused."""

import hashlib
import json
from typing import Any

from ferryman.data.rows.column_types import shorten
from ferryman.errors import DataRejected, DependencyUnavailable
from ferryman.spec.sources import HttpSourceSpec

_CURSOR_CHARACTERS = 4_096


class PageBook:
    """Takes the answers of one reading in their order, and finds the way to the next."""

    def __init__(self, spec: HttpSourceSpec, shown: str) -> None:
        self._spec = spec
        self._shown = shown
        self._cursors: set[str] = set()
        self._digests: dict[str, int] = {}
        self._records = 0
        self._told: int | None = None
        self.pages = 0

    def take(self, answer: Any) -> list[Any]:
        """The records of the next page."""
        self.pages += 1
        records = self._dig(answer, self._spec.records, "list of records")
        if not isinstance(records, list):
            raise DataRejected(
                f"{self._where}: {self._spec.records or 'the answer'} is no list of records",
                remedy="Correct `records`: where the answer holds the list.",
            )
        self._records += len(records)
        if records:
            canonical = json.dumps(records, sort_keys=True).encode()
            first = self._digests.setdefault(hashlib.sha256(canonical).hexdigest(), self.pages)
            if first != self.pages:
                raise DataRejected(f"{self._where} repeats page {first}, record by record")
        if self._spec.count is not None:
            self._note_count(self._dig(answer, self._spec.count, "count"))
        return records

    def next_cursor(self, answer: Any) -> str | None:
        """What leads to the next page; None after the last one."""
        paging = self._spec.paging
        if paging is None:
            return None
        value = answer
        for key in paging.cursor.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is None or value is False or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise DataRejected(f"{self._where}: {paging.cursor} is no cursor: {shorten(value)}")
        cursor = str(value)
        if len(cursor) > _CURSOR_CHARACTERS:
            raise DataRejected(f"{self._where}: a cursor of {len(cursor)} characters")
        if cursor in self._cursors:
            raise DataRejected(
                f"{self._where}: its cursor was given before: the pages go in a ring"
            )
        self._cursors.add(cursor)
        if self.pages >= paging.max_pages:
            raise DataRejected(
                f"{self._shown}: more than {paging.max_pages} pages",
                remedy="Ask for larger pages, or declare a larger paging.max_pages.",
            )
        return cursor

    def check_count(self) -> None:
        """After the last page: as many records as were told of."""
        if self._told is not None and self._told != self._records:
            raise DataRejected(
                f"{self._shown}: told of {self._told} records and gave {self._records}",
                remedy="The answer is not complete: look at the API's paging, then run again.",
            )

    def _note_count(self, told: Any) -> None:
        if isinstance(told, bool) or not isinstance(told, int):
            raise DataRejected(f"{self._where}: {self._spec.count} is no count: {shorten(told)}")
        if self._told not in (None, told):
            raise DependencyUnavailable(
                f"{self._where}: told of {told} records, page 1 of {self._told}: the data changed "
                "while it was read",
                remedy="Run again, at a quieter hour if this goes on.",
            )
        self._told = told

    @property
    def _where(self) -> str:
        return f"{self._shown}: page {self.pages}"

    def _dig(self, answer: Any, path: str, what: str) -> Any:
        """What stands at a path such as data.items; the answer itself for none."""
        value = answer
        for key in path.split(".") if path else ():
            if not isinstance(value, dict) or key not in value:
                names = sorted(value)[:8] if isinstance(value, dict) else []
                held = ", ".join(names)[:200] or "its keys: there are none"
                raise DataRejected(
                    f"{self._where}: no {what} at {path!r}: {key!r} is not among {held}",
                    remedy="Look at the answer with curl, and correct the path in model.yaml.",
                )
            value = value[key]
        return value
