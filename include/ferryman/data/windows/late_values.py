"""Feature values that became known only after their event: what no model may learn from."""

from typing import Any

import numpy as np
import pyarrow.compute as pc

from ferryman.data.rows.column_types import shorten
from ferryman.data.windows.events import one_chunk, take_times
from ferryman.errors import GateRefused
from ferryman.spec.data import FeaturesSpec
from ferryman.spec.windows import format_time

_SHOWN = 5
_REMEDY = (
    "Join only what was known when the event happened. If you know better, ingest again with the "
    "parameter accept_leakage=REASON (10 to 200 characters); it is recorded with your name."
)


def late_values(raw: Any, table: Any, spec: FeaturesSpec, times: Any, shown: str) -> list[str]:
    """What is known too late, told in one text for each column of times; none is as it should be.

    `raw` is the query's result, `table` the typed features of the same rows, `times` their events.
    """
    of_time: dict[str, list[str]] = {}
    for name, feature in spec.columns.items():
        if feature.known_at is not None:
            of_time.setdefault(feature.known_at, []).append(name)
    texts = []
    for known_at, names in of_time.items():
        known = take_times(raw, known_at, shown)
        late = pc.fill_null(pc.greater(known, times), False)
        held = {name: pc.and_(late, pc.is_valid(one_chunk(table.column(name)))) for name in names}
        guilty = [name for name in names if pc.any(held[name]).as_py()]
        if not guilty:
            continue
        rows = np.flatnonzero(np.asarray(held[guilty[0]]))
        row = int(rows[0])
        also = f" (so did {', '.join(guilty[1 : _SHOWN + 1])})" if guilty[1:] else ""
        key = shorten(table.column("entity_key")[row].as_py())[1:-1]
        texts.append(
            f"feature {guilty[0]!r} of row {row + 1} ({key}) became known at "
            f"{format_time(known[row].as_py())}, after the event at "
            f"{format_time(times[row].as_py())}; {len(rows)} rows are like this, by column "
            f"{known_at!r}{also}"
        )
    return texts


def refuse_late_values(texts: list[str], shown: str) -> None:
    """GateRefused (exit 4) where anything is known too late."""
    if texts:
        more = f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
        raise GateRefused(
            f"suspiciously good: {shown}: {'; '.join(texts[:_SHOWN])}{more}", remedy=_REMEDY
        )
