"""An application asked without a network, and bodies and headers that no client should send."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st


class Got(NamedTuple):
    """What an application sent."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


def ask(
    app: Any,
    path: str,
    pieces: Sequence[bytes],
    headers: Sequence[tuple[bytes, bytes]] = (),
    method: str = "POST",
) -> Got:
    """One request whose body comes in pieces."""
    return asyncio.run(ask_within(app, path, pieces, headers, method))


async def ask_within(
    app: Any,
    path: str,
    pieces: Sequence[bytes],
    headers: Sequence[tuple[bytes, bytes]] = (),
    method: str = "POST",
) -> Got:
    """The same within a running loop."""
    sent: list[Mapping[str, Any]] = []
    messages = iter(
        [
            {"type": "http.request", "body": piece, "more_body": place < len(pieces) - 1}
            for place, piece in enumerate(pieces or [b""])
        ]
    )

    async def receive() -> Mapping[str, Any]:
        return next(messages)

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
    await app(scope, receive, send)
    start, content = sent
    return Got(start["status"], dict(start["headers"]), content["body"])


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([2**53, -(2**63), 2**64, 10**400, 1e308, -0.0, "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"x-request-id", b"inference-header-content-length", b"content-encoding", b"x"]
        ),
        st.sampled_from([b"", b"0", b"7", b"-1", b"9" * 30, b"gzip", b"identity", b"\xff\xfe"])
        | st.binary(max_size=20),
    ),
    max_size=3,
)
