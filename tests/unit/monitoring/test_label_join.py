"""Labels come late, twice and out of order; each event still counts once."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from ferryman.errors import IntegrityBroken
from ferryman.monitoring.joined_windows import JoinedWindows
from ferryman.monitoring.labels import JOINED_SCHEMA, join, merge
from ferryman.spec.windows import Window, day_window

T0 = datetime(2013, 2, 1, 12, tzinfo=UTC)
DUE = day_window(T0)
TIME = pa.timestamp("us", tz="UTC")


def predictions(*rows: tuple[str, datetime, float, datetime, int]) -> pa.Table:
    names = ["entity_key", "event_time", "score", "logged_at", "version"]
    types = [pa.string(), TIME, pa.float64(), TIME, pa.int64()]
    columns = [pa.array([row[i] for row in rows], types[i]) for i in range(5)]
    table = pa.table(columns, names=names)
    return table.append_column("epoch", table["version"])


def labels(*rows: tuple[str, bool | None, datetime]) -> pa.Table:
    return pa.table(
        {
            "entity_key": pa.array([row[0] for row in rows], pa.string()),
            "event_time": pa.array([T0] * len(rows), TIME),
            "label": pa.array([row[1] for row in rows], pa.bool_()),
            "known_at": pa.array([row[2] for row in rows], TIME),
        }
    )


def hours(count: float) -> datetime:
    return T0 + timedelta(hours=count)


def test_counts_every_case_once() -> None:
    table, counts = join(
        labels(
            ("a", True, hours(24)),
            ("a", False, hours(30)),  # the correction
            ("b", None, hours(24)),  # cancelled
            ("x", True, hours(24)),  # never predicted
        ),
        predictions(
            ("a", T0, 0.9, hours(1), 2),
            ("a", T0, 0.1, hours(0), 1),  # first logged: this one was acted upon
            ("b", T0, 0.5, hours(0), 1),
            ("c", T0, 0.7, hours(0), 1),  # predicted, no label row yet
        ),
        DUE,
    )
    rows = {row["entity_key"]: row for row in table.to_pylist()}
    assert set(rows) == {"a", "b", "c"}
    assert (rows["a"]["label"], rows["a"]["score"], rows["a"]["version"]) == (False, 0.1, 1)
    assert rows["b"]["label"] is None
    assert rows["c"]["known_at"] is None
    assert counts.as_outputs() == {
        "labels": 3,
        "unlabelled": 1,
        "matched": 1,
        "unmatched": 1,
        "predicted": 3,
        "duplicate_labels": 1,
        "duplicate_predictions": 1,
        "duplicates": 2,
        "repeated": 0,
        "corrected": 1,
        "retracted": 0,
    }


def test_the_order_of_rows_does_not_matter() -> None:
    logged = predictions(*[(f"k{i % 7}", T0, i / 20, hours(i % 3), i) for i in range(20)])
    known = labels(*[(f"k{i % 5}", i % 2 == 0, hours(24 + i % 4)) for i in range(15)])
    expected = join(known, logged, DUE)
    shuffler = np.random.default_rng(3)
    for _ in range(5):
        mixed = logged.take(shuffler.permutation(20))
        known_mixed = known.take(shuffler.permutation(15))
        assert join(known_mixed, mixed, DUE) == expected


def test_events_that_are_not_due_are_left_to_their_own_window() -> None:
    early, late = T0 - timedelta(days=3), T0 + timedelta(days=1)
    table, counts = join(
        labels(("late-label", True, hours(24))),
        predictions(
            ("late-label", early, 0.2, hours(0), 1),
            ("other-old", early, 0.2, hours(0), 1),
            ("tomorrow", late, 0.2, hours(0), 1),
            ("due", T0, 0.2, hours(0), 1),
        ),
        DUE,
    )
    assert table["entity_key"].to_pylist() == ["late-label", "due"]
    assert (counts.predicted, counts.matched) == (2, 1)


def test_nothing_joins_to_nothing() -> None:
    table, counts = join(labels(), predictions(), DUE)
    assert table.schema == JOINED_SCHEMA
    assert set(counts.as_outputs().values()) == {0}


def test_rows_without_a_key_cannot_be_joined() -> None:
    keyless = predictions(("a", T0, 0.5, hours(0), 1))
    keyless = keyless.set_column(0, "entity_key", pa.array([None], pa.string()))
    table, counts = join(labels(("a", True, hours(24))), keyless, DUE)
    assert table.num_rows == 0
    assert (counts.matched, counts.unmatched, counts.duplicates) == (0, 1, 0)


def test_a_label_that_came_in_two_windows_counts_once() -> None:
    logged = predictions(("a", T0, 0.5, hours(0), 1), ("b", T0, 0.5, hours(0), 1))
    first, _ = join(labels(("a", True, hours(24))), logged, DUE)
    later, _ = join(labels(("a", False, hours(48)), ("b", True, hours(48))), logged, DUE)
    for order in ([first, later], [later, first]):
        rows = {row["entity_key"]: row["label"] for row in merge(order).to_pylist()}
        assert rows == {"a": False, "b": True}


def test_windows_are_restated_and_read_by_time(tmp_path) -> None:
    store = JoinedWindows(tmp_path)
    logged = predictions(("a", T0, 0.5, hours(0), 1))
    unlabelled, _ = join(labels(), logged, DUE)
    labelled, _ = join(labels(("a", True, hours(24))), logged, DUE)
    store.write("m", DUE, unlabelled)
    store.write("m", DUE, labelled)
    next_day = DUE.shifted(timedelta(days=1))
    store.write("m", next_day, labelled)
    assert store.read("m", DUE.start, next_day.end).to_pylist() == labelled.to_pylist()
    assert store.read("m", next_day.end, next_day.end + timedelta(days=9)).num_rows == 0
    assert store.read("other", DUE.start, DUE.end).num_rows == 0


def test_a_damaged_window_is_named(tmp_path) -> None:
    store = JoinedWindows(tmp_path)
    file = store.file("m", DUE)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"PAR1 no")
    with pytest.raises(IntegrityBroken, match=DUE.key):
        store.read("m", DUE.start, DUE.end)


def test_due_window_edges_are_half_open() -> None:
    start, end = DUE.start, DUE.end
    logged = predictions(("in", start, 0.5, hours(0), 1), ("out", end, 0.5, hours(0), 1))
    table, _ = join(labels(), logged, Window(start=start, end=end))
    assert table["entity_key"].to_pylist() == ["in"]
