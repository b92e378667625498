"""Blocks of cells: what is checked at once agrees with what each cell may be."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.errors import SpecError
from ferryman.runtime.bundle import FeatureColumn, Signature
from ferryman.serving.models.blocks import MAX_TEXT, RowError, cell_block
from ferryman.serving.models.rows import RowSchema

MIXED = Signature.model_validate(
    {
        "features": [
            {"name": "carrier", "type": "category"},
            {"name": "distance", "type": "number"},
            {"name": "origin", "type": "category"},
            {"name": "hour", "type": "integer", "nullable": False},
        ],
        "entity": ["carrier"],
        "output": "late",
        "blocks": {"text": ["carrier", "origin"], "float32": ["distance", "hour"]},
    }
)
INPUTS = {"float32": "tensor(float)", "text": "tensor(string)"}
ONE = MIXED.model_copy(
    update={"features": MIXED.features[1:2], "blocks": {"float32": ["distance"]}}
)
RECORD = {"carrier": "UA", "distance": 719.5, "origin": None, "hour": 15}


def _one() -> RowSchema:
    return RowSchema(ONE, {"float32": "tensor(float)"})


@pytest.mark.parametrize(
    "rows",
    [
        [RECORD, {**RECORD, "distance": None}],
        [["UA", 719.5, None, 15], ["UA", None, None, 15.0]],
    ],
)
def test_records_and_lists_become_one_array_a_block(rows: list[Any]) -> None:
    schema = RowSchema(MIXED, INPUTS)
    read = schema.read_rows(rows)
    feed = schema.feed(read)
    assert feed["text"].tolist() == [["UA", ""], ["UA", ""]]
    assert feed["float32"].dtype == np.float32
    assert feed["float32"][0].tolist() == [719.5, 15.0]
    assert math.isnan(feed["float32"][1, 0])
    assert read.columns["distance"] == [719.5, None]
    assert schema.read_rows(rows[:1]).columns["carrier"] == ["UA"]
    assert set(read.columns) == {"carrier", "distance", "origin", "hour"}


def test_columns_become_the_same_arrays() -> None:
    schema = RowSchema(MIXED, INPUTS)
    columns = {name: [value] * 3 for name, value in RECORD.items()}
    by_column = schema.feed(schema.read_columns({**columns, "entity_key": ["a", "b", "c"]}))
    by_row = schema.feed(schema.read_rows([RECORD] * 3))
    assert all(np.array_equal(by_column[name], by_row[name]) for name in INPUTS)


@pytest.mark.parametrize(
    ("rows", "row", "field", "text"),
    [
        ([["UA", 719.5, None]], 0, None, "3 values; the model takes 4"),
        ([["UA", 719.5, None, 15], ["UA", 719.5, None, 15, 1]], 1, None, "5 values"),
        ([["UA", "far", None, 15]], 0, "distance", "must be a number"),
        ([[5, 719.5, None, 15]], 0, "carrier", "must be text"),
        ([["UA", 719.5, None, None]], 0, "hour", "null"),
        ([["UA", 719.5, None, 15], RECORD], 1, None, "an object of column"),
        ([RECORD, ["UA", 719.5, None, 15]], 1, None, "an object of column"),
        ([RECORD, 5], 1, None, "an object of column"),
        ([5, RECORD], 0, None, "an object of column"),
    ],
)
def test_a_bad_row_is_named_in_every_form(
    rows: list[Any], row: int, field: str | None, text: str
) -> None:
    schema = RowSchema(MIXED, INPUTS)
    with pytest.raises(RowError, match=text) as caught:
        schema.feed(schema.read_rows(rows))
    assert (caught.value.row, caught.value.field) == (row, field)


def test_a_model_of_one_feature_takes_bare_values() -> None:
    schema = _one()
    for rows in ([1, 2.5, None], [[1], [2.5], [None]], [{"distance": 1}, {"distance": 2.5}]):
        feed = schema.feed(schema.read_rows(rows))
        assert feed["float32"][:2].tolist() == [[1.0], [2.5]]
    assert schema.feed(schema.read_columns([1, 2]))["float32"].tolist() == [[1.0], [2.0]]
    for bad in ([1, [2]], [1, {"distance": 2}], ["x"], [True]):
        with pytest.raises(RowError):
            schema.feed(schema.read_rows(bad))


def test_blocks_that_are_not_the_features_are_refused() -> None:
    short = MIXED.model_copy(update={"blocks": {**MIXED.blocks, "text": ["carrier"]}})
    wrong = MIXED.model_copy(
        update={"blocks": {"text": ["carrier", "distance"], "float32": ["origin", "hour"]}}
    )
    for signature, inputs in (
        (short, INPUTS),
        (wrong, INPUTS),
        (MIXED, {**INPUTS, "text": "tensor(float)"}),
        (MIXED, {"float32": "tensor(float)"}),
    ):
        with pytest.raises(SpecError):
            RowSchema(signature, inputs)


CELLS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.sampled_from(
        [2**53, 2**53 - 1, -(2**53), 2.0**52, 2**64, 10**400, 3.4028234e38, 3.5e38, 1e200, 5.0, 0.5]
    )
    | st.text(max_size=2)
)


def _may_be(value: Any, column: FeatureColumn, kind: str) -> bool:
    """What a number of a column may be, told once more and slowly."""
    if value is None:
        return column.nullable and kind != "int64"
    if type(value) not in (int, float):
        return False
    if type(value) is float and not math.isfinite(value):
        return False
    if column.type == "integer" or kind == "int64":
        return value == int(value) and abs(value) < 2**53
    largest = {"float32": float(np.finfo(np.float32).max), "float64": 1.7976931348623157e308}[kind]
    return abs(value) <= largest


@settings(max_examples=400, deadline=None)
@given(
    kind=st.sampled_from(["float32", "float64", "int64"]),
    types=st.lists(
        st.tuples(st.sampled_from(["number", "integer"]), st.booleans()), min_size=1, max_size=3
    ),
    data=st.data(),
)
def test_all_numbers_at_once_are_judged_as_each_of_them(
    kind: Any, types: Any, data: st.DataObject
) -> None:
    columns = [
        FeatureColumn(name=f"c{place}", type=each, nullable=nullable)
        for place, (each, nullable) in enumerate(types)
    ]
    rows = data.draw(st.integers(1, 3))
    count = rows * len(columns)
    cells = data.draw(st.lists(CELLS, min_size=count, max_size=count))
    good = [_may_be(cell, columns[i % len(columns)], kind) for i, cell in enumerate(cells)]
    block = cell_block(kind, columns)
    if all(good):
        expected = np.array(cells, dtype=np.float64).astype(kind).reshape(rows, len(columns))
        assert np.array_equal(block.array(cells, rows), expected, equal_nan=True)
        return
    with pytest.raises(RowError) as caught:
        block.array(cells, rows)
    row, column = divmod(good.index(False), len(columns))
    assert (caught.value.row, caught.value.field) == (row, f"c{column}")


@pytest.mark.parametrize(
    ("cells", "row"),
    [(["a", 5], 1), (["a", "x" * (MAX_TEXT + 1)], 1), ([None, "a"], 0), (["a", ""], 1)],
)
def test_a_bad_text_is_named(cells: list[Any], row: int) -> None:
    block = cell_block("text", [FeatureColumn(name="t", type="category", nullable=False)])
    with pytest.raises(RowError) as caught:
        block.array(cells, 2)
    assert (caught.value.row, caught.value.field) == (row, "t")
