"""A copy of a request between a replica and a shadow: one packet, a short head and the body.

A body that is too large for a packet goes as a file in memory whose descriptor is passed.
"""

import os
import struct
from functools import lru_cache
from typing import NamedTuple, get_args

from ferryman.serving.protocols.requests import Request
from ferryman.serving.protocols.routes import Dialect, Route

LARGEST_PACKET = 100 * 1024  # bytes of a body that goes in a packet
LONGEST_HEAD = 512
_HEAD = struct.Struct("<HHHi")
_NO_JSON_LENGTH = -1


class Copy(NamedTuple):
    """A copied request, its id, and whom its client said that it is about."""

    request_id: bytes
    entity: bytes
    request: Request


def pack_head(
    request_id: bytes, route: Route, json_length: int | None, entity: bytes = b""
) -> bytes:
    """What of a request is told beside its body; the model is known where it goes."""
    asked = _asked(route)
    length = _NO_JSON_LENGTH if json_length is None else json_length
    sizes = _HEAD.pack(len(request_id), len(entity), len(asked), length)
    return b"%b%b%b%b" % (sizes, request_id, entity, asked)


def unpack(packet: bytes, descriptor: int | None, model: str) -> Copy:
    """What was copied; ValueError for what is no copy. Closes the descriptor."""
    body = None if descriptor is None else _read_file(descriptor)
    try:
        id_size, entity_size, asked_size, length = _HEAD.unpack_from(packet)
    except struct.error as error:
        raise ValueError(f"a copy of {len(packet)} bytes has no head") from error
    id_end = _HEAD.size + id_size
    start = id_end + entity_size
    end = start + asked_size
    dialect, _, verb = packet[start:end].decode().partition(" ")
    if end > len(packet) or dialect not in get_args(Dialect):
        raise ValueError("a copy's head makes no sense")
    route = Route("predict", dialect, verb, model)  # type: ignore[arg-type]
    request = Request(
        route,
        packet[end:] if body is None else body,
        None if length == _NO_JSON_LENGTH else length,
    )
    return Copy(packet[_HEAD.size : id_end], packet[id_end:start], request)


def as_file(body: bytes) -> int:
    """The descriptor of a file in memory that holds a body."""
    descriptor = os.memfd_create("ferryman-copy", os.MFD_CLOEXEC)
    try:
        rest = memoryview(body)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _read_file(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as stream:
        stream.seek(0)
        return stream.read()


@lru_cache(maxsize=64)
def _asked(route: Route) -> bytes:
    return f"{route.dialect} {route.verb}".encode()
