"""Labels that are repeated, corrected, taken back, or posted for a request."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from label_rows import DUE, T0, answers, labels

from ferryman.monitoring.label_inbox import days_of, resolve, spans, told_times
from ferryman.monitoring.labels import join, merge
from ferryman.serving.labels.label_files import posted_schema


def test_what_repeats_corrects_and_takes_back_is_told_apart() -> None:
    before = labels([("a", True, 0), ("b", True, 0)])
    now = labels([("a", True, 1), ("a", False, 2), ("b", None, 1), ("c", True, 1), ("c", True, 3)])
    _, counts = join(now, answers(), DUE, before=before)
    assert (counts.repeated, counts.corrected, counts.retracted) == (2, 2, 1)
    _, alone = join(now, answers(), DUE)
    assert (alone.repeated, alone.corrected, alone.retracted) == (1, 1, 0)


def posted(*rows: dict[str, Any]) -> Any:
    nothing = dict.fromkeys(posted_schema("binary").names)
    told = [{**nothing, "label": True, "received_at": T0, **row} for row in rows]
    return pa.Table.from_pylist(told, schema=posted_schema("binary"))


def test_a_request_names_its_event_where_it_had_one() -> None:
    table = answers()
    two = table.slice(2, 2).set_column(1, "request_id", pa.array(["r-a-1", "both"]))
    both = table.slice(4, 1).set_column(1, "request_id", pa.array(["both"]))
    inbox = resolve(
        posted(
            {"request_id": "r-a-2"},
            {"request_id": "both"},
            {"request_id": "nobody"},
            {"entity_key": "b", "known_at": T0 - timedelta(hours=1)},
        ),
        pa.concat_tables([table.slice(0, 2), two.slice(1), both]),
    )
    rows = inbox.labels.to_pylist()
    assert [row["entity_key"] for row in rows] == ["a", "nobody#0", "b"]
    assert [row["event_time"] for row in rows] == [T0, None, T0]
    assert [row["known_at"] for row in rows] == [T0, T0, T0 - timedelta(hours=1)]
    assert (inbox.posted, inbox.ambiguous) == (4, 1)


def test_the_time_of_an_event_is_told_or_stands_in_its_key() -> None:
    table = posted(
        {"entity_key": "AA|1|2026-01-31T10:15:00Z"},
        {"entity_key": "AA|1|2026-01-31T10:15:00.25Z", "event_time": T0},
        {"entity_key": "AA|1|2026-02-31T10:15:00Z"},
        {"entity_key": "2026-01-31T10:15:00Z"},
        {"request_id": "r"},
    )
    assert told_times(table).to_pylist() == [
        datetime(2026, 1, 31, 10, 15, tzinfo=UTC),
        T0,
        None,
        None,
        None,
    ]
    days = days_of(told_times(table))
    assert [str(span.end - span.start) for span in spans(days)] == ["2 days, 0:00:00"]


@pytest.mark.parametrize("label", [True, None])
def test_a_label_that_was_taken_back_is_none(label: bool | None) -> None:
    first, second = labels([("a", False, 0)]), labels([("a", label, 1)])
    tables = [join(rows, answers(), DUE)[0] for rows in (second, first)]
    found = {row["entity_key"]: row for row in merge(tables).to_pylist()}
    assert found["a"]["label"] is label
