"""However labels are ordered, repeated and spread over nights, they join as all of them at once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ferryman.monitoring.labels import join, merge
from ferryman.spec.windows import Window

T0 = datetime(2026, 2, 1, 12, tzinfo=UTC)
DUE = Window(start=T0, end=T0 + timedelta(hours=1))
TIME = pa.timestamp("us", tz="UTC")
PREDICTED = ["a", "b", "c", "d"]
LABELS = pa.schema(
    [("entity_key", pa.string()), ("event_time", TIME), ("label", pa.bool_()), ("known_at", TIME)]
)
# Who, what, and when it became known: by the client's word, so that order does not tell it.
ROW = st.tuples(
    st.sampled_from([*PREDICTED, "unknown"]),
    st.sampled_from([True, False, None]),
    st.integers(0, 5),
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


@given(rows=st.lists(ROW, max_size=12), data=st.data())
def test_any_order_repetition_and_spread_gives_what_all_at_once_give(
    rows: list[tuple[str, bool | None, int]], data: st.DataObject
) -> None:
    truth, _ = join(labels(rows), answers(), DUE)
    repeated = rows + (data.draw(st.lists(st.sampled_from(rows), max_size=5)) if rows else [])
    shuffled = data.draw(st.permutations(repeated))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), min_size=3, max_size=3)))
    nights = [shuffled[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
    joined = [join(labels(night), answers(), DUE)[0] for night in nights]
    assert merge(joined).equals(truth)
    assert merge(joined[::-1]).equals(truth)
    assert truth["entity_key"].to_pylist() == PREDICTED
