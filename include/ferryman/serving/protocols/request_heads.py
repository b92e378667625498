"""What of a request's head matters: its path, and four of its headers."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from ferryman.serving.protocols.answers import Refusal
from ferryman.serving.protocols.routes import Route, find_route

# A longer one is nobody's key: it is not read.
LONGEST_ENTITY = 200
_ENTITY = b"x-entity-key"
_READ = frozenset(
    {b"x-request-id", b"content-encoding", b"inference-header-content-length", _ENTITY}
)
NO_HEADERS: Mapping[bytes, bytes] = {}


@lru_cache(maxsize=1024)
def route_at_once(url: bytes) -> Route | None:
    """The route of a prediction's plain path."""
    if b"%" in url or b"?" in url or not url.isascii():
        return None
    route = find_route(url.decode("ascii"))
    return route if route.kind == "predict" else None


def read_headers(headers: Sequence[tuple[bytes, bytes]]) -> Mapping[bytes, bytes]:
    """The few headers that matter; of one that is there twice the last counts."""
    given = NO_HEADERS
    for key, value in headers:
        if key in _READ:
            given = {**given, key: value}
    return given


def entity_key(given: Mapping[bytes, bytes]) -> bytes:
    """Whom the client says that its request is about; empty where it does not say it."""
    entity = given.get(_ENTITY, b"")
    return entity if len(entity) <= LONGEST_ENTITY else b""


def json_length(given: Mapping[bytes, bytes], size: int) -> int | None:
    """Where the JSON of a body with binary tensors ends; Refusal 400 for a senseless one."""
    if not given:
        return None
    packing = given.get(b"content-encoding", b"identity")
    if packing.lower() != b"identity":
        accept = (b"accept-encoding", b"identity")
        raise Refusal(415, "a packed body is not read; send it as it is", [accept])
    length = given.get(b"inference-header-content-length")
    if length is None:
        return None
    if not length.isdigit() or len(length) > 9 or int(length) > size:
        raise Refusal(400, "inference-header-content-length is not a length of this body")
    return int(length)
