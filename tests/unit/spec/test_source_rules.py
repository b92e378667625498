"""Cleaning rules that contradict each other, or themselves, are mistakes in the declaration."""

from typing import Any

import pytest
from pydantic import ValidationError

from ferryman.spec.data import LabelSpec
from ferryman.spec.sources import ColumnSpec


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ({"type": "number", "min": 3, "max": 2}, "min 3.0 is above max 2.0"),
        ({"type": "number", "min": float("nan")}, "finite"),
        ({"type": "number", "outliers": {"factor": float("inf")}}, "finite"),
        ({"type": "integer", "min": 0.5}, "no whole number"),
        ({"type": "integer", "max": 1e300}, "no whole number"),
        ({"type": "category", "min": 0}, "for numbers, not for category"),
        ({"type": "number", "values": ["1"]}, "for categories, not for number"),
        ({"type": "number", "zone": "Europe/Rome"}, "for timestamps, not for number"),
        ({"type": "timestamp", "zone": "Europe/Rom"}, "no time zone"),
        ({"type": "number", "invalid": "clip"}, "needs min or max"),
        ({"type": "number", "invalid": "null"}, "must be nullable, or have a fill"),
        ({"type": "number", "outliers": {"action": "null"}}, "must be nullable, or have a fill"),
        ({"type": "number", "fill": "x"}, "fill 'x' is no number"),
        ({"type": "number", "fill": True}, "is no number"),
        ({"type": "number", "fill": float("nan")}, "is no number"),
        ({"type": "integer", "fill": 10**30}, "is no integer"),
        ({"type": "integer", "fill": 1.5}, "is no integer"),
        ({"type": "number", "fill": 11, "max": 10}, "outside of min and max"),
        ({"type": "category", "fill": "c", "values": ["a", "b"]}, "none of the values"),
        ({"type": "timestamp", "fill": "2013-01-01"}, "is no timestamp"),
    ],
)
def test_rules_that_do_not_fit(column: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ColumnSpec.model_validate(column)


@pytest.mark.parametrize(
    "column",
    [
        {"type": "integer", "min": 0, "max": 10, "fill": 5, "invalid": "null"},
        {"type": "category", "values": ["a"], "fill": "a"},
        {"type": "number", "nullable": True, "outliers": {"method": "mad", "action": "null"}},
        {"type": "boolean", "fill": False},
        {"type": "timestamp", "zone": "America/New_York"},
    ],
)
def test_rules_that_fit(column: dict[str, Any]) -> None:
    assert ColumnSpec.model_validate(column).type == column["type"]


@pytest.mark.parametrize("share", [-0.1, 1.1, "many"])
def test_the_share_of_unknown_labels_is_a_share(share: object) -> None:
    with pytest.raises(ValidationError):
        LabelSpec.model_validate(
            {"name": "late", "sql": "l.sql", "known_after": "1d", "max_unknown": share}
        )
