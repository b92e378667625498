"""Latency by version and variant: what is slow beyond chance, and what cannot be judged."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from ferryman.monitoring.operations import Operations, measure_operations
from ferryman.spec.monitoring import OperationsSpec

T0 = datetime(2013, 2, 1, tzinfo=UTC)
NONE = OperationsSpec()
BOUNDED = OperationsSpec.model_validate({"p95": "200ms", "p99": "1s"})


def answers(seconds: list[float | None], rows: int = 1, **told: object) -> pa.Table:
    """Requests of some rows each, with a latency each."""
    count = len(seconds) * rows
    return pa.table(
        {
            "request_id": [f"r{place // rows}" for place in range(count)],
            "logged_at": pa.array(
                [T0 + timedelta(seconds=place // rows) for place in range(count)],
                pa.timestamp("us", tz="UTC"),
            ),
            "version": pa.array([told.get("version", 1)] * count, pa.int32()),
            "variant": pa.array([told.get("variant", "champion")] * count, pa.string()),
            "latency": pa.array(np.repeat(np.array(seconds, object), rows), pa.float64()),
            "propensity": pa.array([told.get("share", 1.0)] * count, pa.float64()),
        }
    )


def measured(table: pa.Table, spec: OperationsSpec = NONE) -> Operations:
    [found] = measure_operations(table, spec)
    return found


def test_a_request_counts_once_whatever_rows_it_has() -> None:
    seconds = [place / 1000 for place in range(1, 101)]
    found = measured(answers(seconds, rows=3))
    assert (found.requests, found.rows) == (100, 300)
    assert (found.p50, found.p95, found.p99) == (0.05, 0.095, 0.099)
    assert found.errors is None


def test_versions_and_variants_are_told_apart() -> None:
    table = pa.concat_tables(
        [
            answers([0.001] * 9, share=0.9),
            answers([0.5], version=2, variant="canary", share=0.1),
            answers([0.1], version=1, variant=None),
        ]
    )
    found = measure_operations(table, NONE)
    assert [(one.version, one.variant, one.requests, one.share) for one in found] == [
        (1, "", 1, 1.0),
        (1, "champion", 9, pytest.approx(0.9)),
        (2, "canary", 1, pytest.approx(0.1)),
    ]


def test_an_id_that_a_client_repeats_is_another_request() -> None:
    again = answers([0.1, 0.2])
    place = again.schema.get_field_index("request_id")
    again = again.set_column(place, "request_id", pa.array(["same", "same"]))
    assert measured(again).requests == 2


def test_a_bound_is_broken_beyond_chance_only() -> None:
    usual = [0.01] * 940 + [0.3] * 60  # 6 of 100 are slower, 5 are allowed
    assert measured(answers(usual), BOUNDED).outcome == "ok"
    slow = measured(answers([0.01] * 900 + [0.3] * 100), BOUNDED)
    assert (slow.outcome, slow.slow) == ("slow", ("p95",))
    assert "p95 is above 200 ms, beyond chance" in slow.text


def test_few_requests_are_not_judged() -> None:
    found = measured(answers([5.0] * 99), BOUNDED)
    assert (found.outcome, found.slow) == ("not_enough_requests", ())
    assert "not enough requests to judge (n=99 < 100)" in found.text
    assert measured(answers([5.0] * 99)).outcome == "ok"


def test_answers_without_a_latency_have_no_figures() -> None:
    found = measured(answers([None, None]), BOUNDED)
    assert (found.requests, found.p50, found.p99) == (2, None, None)
    assert found.text == "version 1 as champion: no latency was logged"
    assert measure_operations(answers([]), BOUNDED) == []


@pytest.mark.parametrize("text", ["200", "0ms", "1.5s", "2m", 200])
def test_a_latency_is_written_in_ms_or_s(text: object) -> None:
    with pytest.raises(ValueError, match="is not a latency"):
        OperationsSpec.model_validate({"p95": text})


def test_a_latency_is_written_as_it_was_read() -> None:
    declared = {"p50": "1500ms", "p95": "2s", "p99": None}
    spec = OperationsSpec.model_validate(declared)
    assert spec.model_dump(mode="json", include=set(declared)) == declared
