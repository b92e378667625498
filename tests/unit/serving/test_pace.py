"""What a model's runs cost is measured when it is loaded, and decides how they are made."""

import time
from typing import Any

import pytest

from ferryman.runtime.bundle import Signature
from ferryman.serving.models.pace import Pace, measure_pace
from ferryman.serving.models.rows import RowSchema

SIGNATURE = Signature.model_validate(
    {"features": [{"name": "x", "type": "number"}], "entity": [], "output": "y"}
)


@pytest.mark.parametrize(("run", "row", "gathers"), [(2e-3, 0.0, True), (0.0, 1e-3, False)])
def test_gathering_pays_where_a_run_costs_more_than_its_rows(
    run: float, row: float, gathers: bool
) -> None:
    schema = RowSchema(SIGNATURE, {"x": "tensor(float)"})

    def work(feed: Any) -> None:
        until = time.perf_counter() + run + row * len(feed["x"])
        while time.perf_counter() < until:
            pass

    pace = measure_pace(work, schema, schema.read_rows([1.0, 2.0]))
    assert pace.gathers is gathers
    assert pace.one >= run + row


def test_a_long_run_is_told_by_its_rows() -> None:
    pace = Pace(one=20e-6, further=10e-6)
    assert not pace.is_long(1) and not pace.is_long(100) and pace.is_long(1000)
