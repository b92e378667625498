"""One prediction request between its bytes and its answer, whatever dialect it speaks."""

from typing import Any, NamedTuple

from ferryman.serving.models.rows import Rows
from ferryman.serving.protocols.routes import Route


class Request(NamedTuple):
    """A request as it came in. `json_length` tells where binary tensors begin, if any do."""

    route: Route
    body: bytes
    json_length: int | None = None


class Asked(NamedTuple):
    """The rows of a request; `form` is what its dialect must know to answer in kind."""

    rows: Rows
    form: Any


class Answer(NamedTuple):
    """An answer's bytes and the headers that go with them, the content type among them."""

    body: bytes
    headers: list[tuple[bytes, bytes]]


JSON = (b"content-type", b"application/json")
