"""How long a model takes for a row and for many: what pays is measured when it is loaded."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from ferryman.serving.models.rows import Rows, RowSchema

# What a run of its own must cost more than a further row of a common run, so that gathering pays.
# Joining the rows and sharing the answers out costs a few microseconds a request.
_GATHERING = 8e-6
_MANY = 16
_ROUNDS = 5
# A run that is longer than this would keep other requests waiting: it is made beside the loop.
_LONG = 2e-3


class Pace(NamedTuple):
    """Seconds of a run of one row, and what each further row adds.

    `gathers`: whether several requests are scored sooner in one run than one after another.
    """

    one: float = 0.0
    further: float = 0.0
    gathers: bool = False

    def is_long(self, rows: int) -> bool:
        """Whether a run of so many rows is better made beside the loop."""
        return self.one + self.further * (rows - 1) > _LONG


def measure_pace(run: Callable[[Any], object], schema: RowSchema, rows: Rows) -> Pace:
    """Time runs of the first row alone and repeated, each a few times; the quickest counts."""
    columns = rows.columns
    one, many = (
        schema.feed(schema.read_columns({name: column[:1] * n for name, column in columns.items()}))
        for n in (1, _MANY)
    )
    shortest, longer = _quickest(run, one), _quickest(run, many)
    further = max(longer - shortest, 0.0) / (_MANY - 1)
    return Pace(shortest, further, gathers=shortest - further > _GATHERING)


def _quickest(run: Callable[[Any], object], feed: Any) -> float:
    times = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        run(feed)
        times.append(time.perf_counter() - started)
    return min(times)
