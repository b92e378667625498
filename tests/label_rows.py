"""Four events that were answered twice each, and labels of them, as tables that a join takes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from ferryman.spec.windows import Window

T0 = datetime(2026, 2, 1, 12, tzinfo=UTC)
DUE = Window(start=T0, end=T0 + timedelta(hours=1))
TIME = pa.timestamp("us", tz="UTC")
PREDICTED = ["a", "b", "c", "d"]
LABELS = pa.schema(
    [("entity_key", pa.string()), ("event_time", TIME), ("label", pa.bool_()), ("known_at", TIME)]
)


def answers() -> Any:
    rows = [(key, version) for key in PREDICTED for version in (1, 2)]
    return pa.table(
        {
            "entity_key": pa.array([key for key, _ in rows]),
            "request_id": pa.array([f"r-{key}-{version}" for key, version in rows]),
            "event_time": pa.array([T0] * len(rows), TIME),
            "logged_at": pa.array([T0 + timedelta(minutes=version) for _, version in rows], TIME),
            "score": pa.array([version / 10 for _, version in rows]),
            "version": pa.array([version for _, version in rows], pa.int64()),
            "epoch": pa.array([version for _, version in rows], pa.int64()),
        }
    )


def labels(rows: list[tuple[str, bool | None, int]]) -> Any:
    return pa.Table.from_pylist(
        [
            {
                "entity_key": key,
                "event_time": T0,
                "label": label,
                "known_at": T0 + timedelta(days=1, hours=hour),
            }
            for key, label, hour in rows
        ],
        schema=LABELS,
    )
