"""The rules of a search that no method or space may break."""

from typing import Any

import pytest
from pydantic import ValidationError

from ferryman.spec.training import SearchSpec

RANGE = {"min": 0, "max": 1}


def search(method: str, space: dict[str, Any], **more: Any) -> SearchSpec:
    return SearchSpec.model_validate({"method": method, "space": space, **more})


@pytest.mark.parametrize(
    ("method", "space", "more", "text"),
    [
        ("cma_es", {"a": RANGE}, {}, "two parameters or more"),
        ("cma_es", {"a": RANGE, "b": {"choices": [1, 2]}}, {}, "choices for 'b' need another"),
        (
            "halving",
            {"a": RANGE},
            {"resource": {"param": "a", "min": 1, "max": 9}},
            "'a' is the resource",
        ),
        ("random", {"a": {**RANGE, "step": 2}}, {}, "step must not be larger"),
        ("random", {"a": {"min": 0, "max": 9, "integer": True, "step": 1.5}}, {}, "whole number"),
    ],
)
def test_a_search_that_cannot_be_done_is_refused(
    method: str, space: dict[str, Any], more: dict[str, Any], text: str
):
    with pytest.raises(ValidationError, match=text):
        search(method, space, **more)


def test_every_method_can_be_declared():
    space = {"a": {"min": 0, "max": 1, "step": 0.25}, "b": {"min": 1, "max": 4, "integer": True}}
    resource = {"param": "n", "min": 1, "max": 9}
    for method in ("grid", "random", "tpe", "cma_es"):
        assert search(method, space).resource is None
    for method in ("halving", "hyperband"):
        assert search(method, space, resource=resource).resource is not None
