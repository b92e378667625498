"""Bodies as JSON: strictly, and, to say what is wrong with a bad one, a little less so."""

import json
from collections.abc import Callable
from typing import Any

import orjson

from ferryman.serving.protocols.answers import Refusal

# How a dialect gets the content of a body's JSON.
Load = Callable[[bytes], Any]
# Of a larger body that is no JSON, nobody looks for the row that is at fault.
_LARGEST_LOOKED_AT = 1024 * 1024


class NotJson(Refusal):
    """A body that is no JSON; a strict reader tells the place in the text only."""


def read_json(body: bytes) -> Any:
    """The content; NotJson for anything else. NaN, Infinity and 1e400 are no JSON numbers.

    Of a key that is there twice the last value counts.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotJson(400, f"not JSON: {error}") from error


def read_with_infinities(body: bytes) -> Any:
    """The content where NaN, Infinity and 1e400 are numbers, so that a row's check can name them.

    Never to be answered with a prediction: this reader also lets through what is no text. NotJson
    where it cannot be read like this either.
    """
    if len(body) > _LARGEST_LOOKED_AT:
        raise NotJson(400, "not JSON")
    try:
        return json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise NotJson(400, "not JSON") from error


def as_object(content: Any) -> dict[str, Any]:
    """A JSON object; Refusal 400 for anything else."""
    if not isinstance(content, dict):
        raise Refusal(400, "the body must be a JSON object")
    return content
