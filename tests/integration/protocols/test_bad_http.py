"""What is no proper HTTP: refused with a 4xx, or hung up on; the server answers the next one."""

import socket
from typing import Any

import pytest

CLOSE = b"Host: a\r\nConnection: close\r\n\r\n"
GOOD = b"GET /v2/health/live HTTP/1.1\r\n" + CLOSE
HEAD = b"POST /api/v1/models/line/predict HTTP/1.1\r\nHost: a\r\n"
LENGTH = b"Content-Length: 3\r\n\r\n"
BODY = LENGTH + b"[1]"


def send(address: str, data: bytes, *, ends: bool = False) -> bytes:
    """All that comes back until the server hangs up. `ends`: the client hangs up first."""
    host, port = address.split(":")
    pieces = []
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        try:
            connection.sendall(data)
            if ends:
                connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                pieces.append(piece)
        except (BrokenPipeError, ConnectionResetError) as reset:
            # It hung up while much was still on its way to it.
            assert len(data) > 65536, reset
    return b"".join(pieces)


@pytest.mark.parametrize(
    ("what", "status", "data"),
    [
        ("no HTTP", 400, b"hello\r\n\r\n"),
        ("a TLS hello", 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200),
        ("the preface of HTTP/2", 400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("an unknown method", 400, b"FETCH /v2 HTTP/1.1\r\n" + CLOSE),
        ("a negative length", 400, HEAD + b"Content-Length: -1\r\n\r\n[1]"),
        ("a length that is no number", 400, HEAD + b"Content-Length: x\r\n\r\n[1]"),
        ("a length of 30 digits", 400, HEAD + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n[1]"),
        ("two lengths", 400, HEAD + b"Content-Length: 3\r\nContent-Length: 1\r\n\r\n[1]"),
        (
            "a length and chunks",
            400,
            HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n0\r\n\r\n",
        ),
        (
            "a chunk without a length",
            400,
            HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n[1]\r\n",
        ),
        ("a header without a colon", 400, HEAD + b"colon\r\nContent-Length: 3\r\n\r\n[1]"),
        ("a NUL in a header", 400, HEAD + b"a: \0\r\nContent-Length: 3\r\n\r\n[1]"),
        ("a path of NUL bytes", 404, b"GET /v2/models/%00%00 HTTP/1.1\r\n" + CLOSE),
        ("a path that is no UTF-8", 404, b"GET /v2/models/%ff%fe HTTP/1.1\r\n" + CLOSE),
        ("a path up the tree", 404, b"GET /v2/../../etc/passwd HTTP/1.1\r\n" + CLOSE),
        ("another server's address", 404, b"GET http://b/admin/models HTTP/1.1\r\n" + CLOSE),
        ("a star for a path", 404, b"OPTIONS * HTTP/1.1\r\n" + CLOSE),
        ("a tunnel", 400, b"CONNECT b:443 HTTP/1.1\r\n" + CLOSE),
        ("a path of bytes beyond ASCII", 400, b"GET /v2/models/\xc3\xa9 HTTP/1.1\r\n" + CLOSE),
        ("a length with a sign", 400, HEAD + b"Content-Length: +3\r\n\r\n[1]"),
        ("a length in hexadecimal", 400, HEAD + b"Content-Length: 0x3\r\n\r\n[1]"),
        ("a space before the colon", 400, HEAD + b"Content-Length : 3\r\n\r\n[1]"),
        ("a folded header", 400, HEAD + b"a: b\r\n c\r\nContent-Length: 3\r\n\r\n[1]"),
        ("a coding that nobody knows", 400, HEAD + b"Transfer-Encoding: zip\r\n\r\n[1]"),
        ("HTTP of the year 2040", 400, b"GET /v2 HTTP/4.0\r\n" + CLOSE),
    ],
)
def test_bad_http_is_refused(server: Any, what: str, status: int, data: bytes) -> None:
    answer = send(server.address, data)
    assert answer.startswith(b"HTTP/1.1 %d " % status), what
    assert b"Traceback" not in answer
    assert send(server.address, GOOD).startswith(b"HTTP/1.1 200 ")


def test_a_body_that_is_cut_gets_no_prediction(server: Any) -> None:
    answer = send(server.address, HEAD + b"Content-Length: 30\r\n\r\n[1]", ends=True)
    assert b"predictions" not in answer
    assert send(server.address, GOOD).startswith(b"HTTP/1.1 200 ")


def test_good_http_in_small_pieces(server: Any) -> None:
    host, port = server.address.split(":")
    data = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n3\r\n, 2\r\n1\r\n]\r\n0\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        for byte in data:
            connection.sendall(bytes([byte]))
        answer = b""
        while not answer.endswith(b"}"):
            piece = connection.recv(65536)
            assert piece, answer
            answer += piece
    assert answer.endswith(b'{"predictions":[2.0,4.0]}')


@pytest.mark.parametrize(
    ("what", "data", "answers"),
    [
        ("HTTP/1.0", b"GET /v2/health/live HTTP/1.0\r\n\r\n", 1),
        (
            "a wish for HTTP/2, as curl --http2 sends it",
            b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
            1,
        ),
        ("three requests at once", HEAD + BODY + HEAD + BODY + GOOD, 3),
        ("a bad one between two good ones", HEAD + BODY + HEAD + LENGTH + b"[x]" + GOOD, 2),
    ],
)
def test_odd_http_is_answered(server: Any, what: str, data: bytes, answers: int) -> None:
    answer = send(server.address, data, ends=what.startswith("a wish"))
    assert answer.count(b"HTTP/1.1 200 ") == answers, answer


@pytest.mark.parametrize("size", [10_000, 1_000_000, 30_000_000])
def test_a_long_header_is_refused(server: Any, size: int) -> None:
    data = HEAD + b"x: " + b"y" * size + b"\r\nContent-Length: 3\r\nConnection: close\r\n\r\n[1]"
    answer = send(server.address, data)
    if size > 64 * 1024:
        # Where it hung up with much still on its way, its answer may be lost.
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    else:
        assert answer.startswith(b"HTTP/1.1 200 ")
    assert send(server.address, GOOD).startswith(b"HTTP/1.1 200 ")
