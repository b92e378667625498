"""From the body of POST /v1/labels to checked rows: the first bad one is named, none is kept."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from ferryman.runtime.bundle import Signature
from ferryman.serving.models.blocks import MAX_TEXT, RowError
from ferryman.serving.models.rows import MAX_ROWS
from ferryman.serving.models.times import read_time
from ferryman.serving.protocols.answers import Refusal
from ferryman.serving.protocols.json_bodies import as_object, read_json

Outcome = bool | float | str | None
_KEYS = frozenset({"model", "labels"})
_ROW_KEYS = frozenset({"entity_key", "request_id", "label", "event_time", "known_at"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_START = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(2200, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Clocks differ; what is later than this was not known to anybody.
_SKEW_MICROSECONDS = 60 * 1_000_000


class PostedRow(NamedTuple):
    """One outcome; times in microseconds since 1970. Exactly one of the two names is there."""

    entity_key: str | None
    request_id: str | None
    event_time: int | None
    label: Outcome
    known_at: int | None

    @property
    def name(self) -> tuple[str | None, str | None]:
        """What the row is about."""
        return self.entity_key, self.request_id


def read_body(body: bytes) -> tuple[str, list[Any]]:
    """The model that a body names, and its rows unread; Refusal 400 where it has another form."""
    content = as_object(read_json(body))
    unknown = content.keys() - _KEYS
    if unknown:
        raise RowError("unknown key in the body", field=min(unknown)[:100])
    model, rows = content.get("model"), content.get("labels")
    if not isinstance(model, str) or not model:
        raise RowError("must be the name of a model", field="model")
    if not isinstance(rows, list) or not rows:
        raise RowError("must be a list of at least one object", field="labels")
    if len(rows) > MAX_ROWS:
        raise Refusal(400, f"{len(rows)} labels; at most {MAX_ROWS} in one request")
    return model, rows


def read_rows(rows: list[Any], signature: Signature, received: int) -> list[PostedRow]:
    """The rows, checked for a served model; RowError names the first bad one and its field.

    `received`: the server's time, microseconds since 1970.
    """
    found: list[PostedRow] = []
    first: dict[tuple[Any, ...], tuple[int, Outcome]] = {}
    for index, given in enumerate(rows):
        row = _read_row(index, given, signature, received)
        place, told = first.setdefault((*row.name, row.known_at), (index, row.label))
        if told != row.label:
            text = f"another label than in row {place}; known_at would tell which one is newer"
            raise RowError(text, row=index, field="label")
        found.append(row)
    return found


def _read_row(index: int, given: Any, signature: Signature, received: int) -> PostedRow:
    if not isinstance(given, dict):
        raise RowError("a label must be an object", row=index)
    unknown = given.keys() - _ROW_KEYS
    if unknown:
        raise RowError("unknown key", row=index, field=min(unknown)[:100])
    key, request = given.get("entity_key"), given.get("request_id")
    if (key is None) == (request is None):
        raise RowError("needs exactly one of 'entity_key' and 'request_id'", row=index)
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= MAX_TEXT):
        text = f"must be text of 1 to {MAX_TEXT} characters"
        raise RowError(text, row=index, field="entity_key")
    if request is not None and not (isinstance(request, str) and _REQUEST_ID.fullmatch(request)):
        raise RowError("is no request id", row=index, field="request_id")
    if "label" not in given:
        raise RowError("is missing; null takes a label back", row=index, field="label")
    known = _moment(given, "known_at", index)
    if known is not None and known > received + _SKEW_MICROSECONDS:
        raise RowError("lies in the future", row=index, field="known_at")
    return PostedRow(
        key,
        request,
        _moment(given, "event_time", index),
        _outcome(given["label"], signature, index),
        None if known is None else min(known, received),
    )


def _outcome(value: Any, signature: Signature, index: int) -> Outcome:
    """A label in the type of the model's task; null takes back what was said before."""
    if value is None:
        return None
    kind = type(value)
    if signature.task == "binary":
        if kind is bool or (kind is int and value in (0, 1)):
            return bool(value)
        raise RowError("must be true, false, 1, 0 or null", row=index, field="label")
    if signature.task == "multiclass":
        name = str(value) if kind is int else value
        if type(name) is str and name in signature.classes:
            return name
        classes = ", ".join(signature.classes[:20])
        raise RowError(f"must be null or one of {classes}", row=index, field="label")
    if kind is int or (kind is float and math.isfinite(value)):
        return float(value)
    raise RowError("must be a number or null", row=index, field="label")


def _moment(given: Mapping[str, Any], name: str, index: int) -> int | None:
    moment = read_time(given.get(name), name, index)
    if moment is None:
        return None
    if not _START <= moment < _LAST:
        raise RowError("must lie between 1970 and 2200", row=index, field=name)
    return (moment - _START) // _MICROSECOND
