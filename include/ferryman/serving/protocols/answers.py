"""HTTP answers of the prediction port: always JSON, never a stack trace."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import orjson

from ferryman.serving.models.rows import NoScore, RowError
from ferryman.serving.protocols.requests import JSON, Answer

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")


class Refusal(Exception):
    """A request that is not answered with a prediction: its status and why."""

    def __init__(self, status: int, text: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.content: dict[str, Any] = {"error": text}
        self.headers = headers


def bad_row(error: RowError) -> Refusal:
    """What names the row and the column where they are known.

    A 400, or a 500 where the rows are good and the model has no answer to them.
    """
    refusal = Refusal(500 if isinstance(error, NoScore) else 400, error.text)
    if error.row is not None:
        refusal.content["row"] = error.row
    if error.field is not None:
        refusal.content["field"] = error.field
    return refusal


async def send_json(send: Send, status: int, content: Any, headers: Headers) -> None:
    """Send a JSON answer."""
    await _send(send, status, orjson.dumps(content), [JSON, *headers])


async def send_answer(send: Send, answer: Answer, headers: Headers) -> None:
    """Send a prediction."""
    await _send(send, 200, answer.body, [*answer.headers, *headers])


async def send_text(send: Send, body: bytes) -> None:
    """Send the metrics page."""
    await _send(send, 200, body, [_TEXT])


def write_answer(answer: Answer, request_id: bytes, head: bytes) -> bytes:
    """A prediction as the bytes of an HTTP/1.1 answer.

    `head` holds the lines that say who answered; all headers are our own, and checked.
    """
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b%b\r\n%b" % (
        len(answer.body),
        request_id,
        b"".join([b"%b: %b\r\n" % header for header in answer.headers]),
        head,
        answer.body,
    )


async def _send(send: Send, status: int, body: bytes, headers: Headers) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})
