"""What a message of a request stream says, and what its answer says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

LONGEST_ID = 200
_SHOWN = 200


@dataclass(frozen=True)
class Request:
    """One message. `rows` are those of `instances`; `body` is a whole request of the REST protocol.

    `entry` is the message's place in the stream, `id` its producer's own name for it.
    """

    entry: str
    id: str
    rows: list[Any]
    body: bytes = b""

    @property
    def size(self) -> int:
        """How many bytes the rows take, roughly."""
        return len(self.body) or len(orjson.dumps(self.rows))


@dataclass(frozen=True)
class Dead:
    """A message that nobody can be answered for, since it does not say its id."""

    entry: str
    reason: str
    fields: Mapping[bytes, bytes]

    def as_fields(self) -> dict[str, str | bytes]:
        """What the stream of dead letters keeps: the reason, and the message as it came."""
        given = {f"field.{_text(name)}": value for name, value in self.fields.items()}
        return {"reason": self.reason, "entry": self.entry, **given}


@dataclass(frozen=True)
class Answer:
    """What one message is answered; `entry` and `id` are those of the request."""

    entry: str
    id: str
    fields: Mapping[str, str | bytes]

    def as_fields(self) -> dict[str, str | bytes]:
        """The fields of the answer."""
        return {"id": self.id, **self.fields}

    @property
    def is_error(self) -> bool:
        """Whether the request was refused."""
        return "error" in self.fields


def read_message(entry: bytes, fields: Mapping[bytes, bytes]) -> Request | Answer | Dead:
    """A message as it was sent; the answer to one that is wrong; Dead where it says no id."""
    place = entry.decode()
    try:
        name = fields[b"id"].decode()
    except (KeyError, UnicodeDecodeError):
        return Dead(place, "no field `id` in UTF-8", fields)
    if not 0 < len(name) <= LONGEST_ID or not name.isprintable():
        return Dead(place, f"`id` is not 1 to {LONGEST_ID} printable characters", fields)
    try:
        return _read_request(place, name, fields)
    except ValueError as error:
        return refuse(place, name, 400, str(error))


def refuse(entry: str, name: str, status: int, text: str, **where: Any) -> Answer:
    """The answer to a wrong request, in the server's words; `where` is its row and field."""
    error = {"status": status, "text": text, "row": None, "field": None, **where}
    return Answer(entry, name, {"error": orjson.dumps(error)})


def _read_request(place: str, name: str, fields: Mapping[bytes, bytes]) -> Request:
    if (b"rows" in fields) == (b"body" in fields):
        raise ValueError("a message has either a field `rows` or a field `body`")
    if b"body" in fields:
        return Request(place, name, [], fields[b"body"])
    try:
        rows = orjson.loads(fields[b"rows"])
    except orjson.JSONDecodeError:
        # The server says what is wrong, and where: a NaN has its row and field.
        return Request(place, name, [], b'{"instances":' + fields[b"rows"] + b"}")
    if not isinstance(rows, list) or not rows:
        raise ValueError("`rows` is a list of at least one row")
    return Request(place, name, rows)


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")[:_SHOWN]
