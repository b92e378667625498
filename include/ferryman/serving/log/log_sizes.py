"""How much of the prediction log a day has, without reading rows: what came late is noticed by it.

Merging the files of a day changes their names and not their rows.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import date

from ferryman.runtime.object_store import ObjectStore
from ferryman.serving.log.prediction_log import COMPACT, file_name, sibling, sources_of


class LogSizes:
    """The sizes of days of one model's log; each day is looked at once."""

    def __init__(self, places: Sequence[ObjectStore], model: str) -> None:
        self._places, self._model = places, model
        self._files: dict[date, dict[str, ObjectStore]] = {}
        self._rows: dict[date, int] = {}

    def listing(self, day: date) -> str:
        """A name of the files of a day of events: where it is the same, so are the rows."""
        names = sorted({file_name(key) for key in self._listed(day)})
        return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]

    def rows(self, day: date) -> int:
        """How many rows a day of events has, of all variants."""
        if day not in self._rows:
            self._rows[day] = sum(self._counts(day))
        return self._rows[day]

    def _counts(self, day: date) -> Iterator[int]:
        import pyarrow.parquet as pq

        files = self._listed(day)
        counts: dict[str, int] = {}
        replaced: set[str] = set()
        for key, store in files.items():
            stream = store.open(key)
            if stream is None:  # it moves, or is merged, just now
                continue
            with stream:
                file = pq.ParquetFile(stream)
                counts[key] = file.metadata.num_rows
                if COMPACT in key:
                    found = sources_of(file.schema_arrow)
                    replaced.update(sibling(key, name) for name in found)
        yield from (count for key, count in counts.items() if key not in replaced)

    def _listed(self, day: date) -> dict[str, ObjectStore]:
        if day not in self._files:
            self._files[day] = {
                key: store
                for store in self._places
                for key in store.keys(f"{self._model}/date={day}")
                if key.endswith(".parquet")
            }
        return self._files[day]
