"""Every value of a row is checked, and the first bad one is named."""

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from ferryman.errors import SpecError
from ferryman.runtime.bundle import Signature
from ferryman.serving.models.rows import MAX_ROWS, RowError, RowSchema

SIGNATURE = Signature.model_validate(
    {
        "features": [
            {"name": "carrier", "type": "category"},
            {"name": "distance", "type": "number"},
            {"name": "hour", "type": "integer"},
        ],
        "entity": ["carrier", "flight"],
        "output": "late",
    }
)
INPUTS = {"carrier": "tensor(string)", "distance": "tensor(float)", "hour": "tensor(float)"}
GOOD: dict[str, Any] = {"carrier": "UA", "distance": 719.0, "hour": 15}


@pytest.fixture
def schema() -> RowSchema:
    return RowSchema(SIGNATURE, INPUTS)


def test_rows_become_one_array_a_column(schema: RowSchema) -> None:
    rows = schema.read_rows([GOOD, {"carrier": None, "distance": None, "hour": 5.0}])
    feed = schema.feed(rows)
    assert {name: (value.shape, value.dtype) for name, value in feed.items()} == {
        "carrier": ((2, 1), np.dtype(object)),
        "distance": ((2, 1), np.dtype(np.float32)),
        "hour": ((2, 1), np.dtype(np.float32)),
    }
    assert feed["carrier"].tolist() == [["UA"], [""]]
    assert feed["distance"][0, 0] == 719.0
    assert math.isnan(feed["distance"][1, 0])
    assert feed["hour"].tolist() == [[15.0], [5.0]]


@pytest.mark.parametrize(
    ("change", "field", "text"),
    [
        ({"surprise": 1}, "surprise", "unknown column"),
        ({"carrier": ...}, "carrier", "missing"),
        ({"distance": "far"}, "distance", "must be a number"),
        ({"distance": True}, "distance", "must be a number"),
        ({"distance": [1]}, "distance", "must be a number"),
        ({"distance": {"a": 1}}, "distance", "must be a number"),
        ({"distance": float("nan")}, "distance", "finite"),
        ({"distance": float("-inf")}, "distance", "finite"),
        ({"distance": 1e300}, "distance", "too large"),
        ({"distance": -(10**30)}, "distance", None),
        ({"hour": 5.5}, "hour", "whole number"),
        ({"hour": "5"}, "hour", "must be a number"),
        ({"hour": 1e30}, "hour", "too large"),
        ({"hour": -(2**63)}, "hour", "too large"),
        ({"hour": float("inf")}, "hour", "finite"),
        ({"carrier": 7}, "carrier", "must be text"),
        ({"carrier": ["UA"]}, "carrier", "must be text"),
        ({"carrier": "x" * 1001}, "carrier", "longer than"),
        ({"entity_key": 5}, "entity_key", "must be text"),
        ({"entity_key": "x" * 1001}, "entity_key", "longer than"),
        ({"flight": [1]}, "flight", "must be text"),
        ({"event_time": "2013-01-01T10:15:00"}, "event_time", "zone"),
        ({"event_time": 1357035300}, "event_time", "zone"),
        ({"event_time": "0001-01-01T00:00:00+23:00"}, "event_time", "zone"),
        ({"event_time": "soon"}, "event_time", "zone"),
    ],
)
def test_a_bad_value_is_named_with_row_and_column(
    schema: RowSchema, change: dict[str, Any], field: str, text: str | None
) -> None:
    bad = {key: value for key, value in {**GOOD, **change}.items() if value is not ...}
    if text is None:  # legal: a large whole number that float32 can hold
        assert schema.feed(schema.read_rows([bad]))[field].shape == (1, 1)
        return
    with pytest.raises(RowError, match=text) as caught:
        schema.feed(schema.read_rows([GOOD, GOOD, bad]))
    assert (caught.value.row, caught.value.field) == (2, field)


@pytest.mark.parametrize("bad", [None, {}, [], "x", 5, [5], [None], [[1, 2, 3]], [GOOD, "x"]])
def test_rows_of_another_shape_are_refused(schema: RowSchema, bad: object) -> None:
    with pytest.raises(RowError):
        schema.feed(schema.read_rows(bad))


def test_too_many_rows_are_refused(schema: RowSchema) -> None:
    with pytest.raises(RowError, match=str(MAX_ROWS)):
        schema.read_rows([GOOD] * (MAX_ROWS + 1))
    with pytest.raises(RowError, match=str(MAX_ROWS)):
        schema.read_columns({name: [value] * (MAX_ROWS + 1) for name, value in GOOD.items()})


def test_what_is_logged_beside_the_features_is_no_feature(schema: RowSchema) -> None:
    extra = {"entity_key": "k", "event_time": "2013-01-01T05:15:00-05:00", "flight": 1545}
    rows = schema.read_rows([{**GOOD, **extra}, GOOD])
    assert rows.given == {
        "entity_key": ["k", None],
        "event_time": [datetime(2013, 1, 1, 10, 15, tzinfo=UTC), None],
        "flight": [1545, None],
    }
    assert schema.feed(rows).keys() == set(INPUTS)


def test_columns_are_read_as_rows_are(schema: RowSchema) -> None:
    rows = schema.read_columns({"carrier": ["UA", "B6"], "distance": [1, 2.5], "hour": [5, 6]})
    assert rows.size == 2
    assert schema.feed(rows)["distance"].tolist() == [[1.0], [2.5]]
    for bad in (
        {"carrier": ["UA"], "distance": [1, 2], "hour": [5, 6]},
        {"carrier": "UA", "distance": [1], "hour": [5]},
        {"carrier": ["UA"], "distance": [1]},
        {"carrier": [], "distance": [], "hour": []},
        {**{name: [value] for name, value in GOOD.items()}, "surprise": [1]},
    ):
        with pytest.raises(RowError):
            schema.read_columns(bad)


def test_integer_inputs_take_no_null() -> None:
    schema = RowSchema(SIGNATURE, {**INPUTS, "hour": "tensor(int64)"})
    assert schema.feed(schema.read_rows([GOOD]))["hour"].dtype == np.int64
    for bad in (None, 2**60):
        with pytest.raises(RowError) as caught:
            schema.feed(schema.read_rows([GOOD, {**GOOD, "hour": bad}]))
        assert (caught.value.row, caught.value.field) == (1, "hour")


def test_a_signature_that_cannot_be_served_is_refused() -> None:
    with pytest.raises(SpecError, match="not the features"):
        RowSchema(SIGNATURE, {"carrier": "tensor(string)"})
    with pytest.raises(SpecError, match="not tensor"):
        RowSchema(SIGNATURE, {**INPUTS, "carrier": "tensor(float)"})
    clash = SIGNATURE.model_copy(
        update={"features": [SIGNATURE.features[1].model_copy(update={"name": "score"})]}
    )
    with pytest.raises(SpecError, match="prediction log"):
        RowSchema(clash, {"score": "tensor(float)"})
