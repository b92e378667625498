"""The mirror of a replica: it hands copies of requests to a shadow by a local socket.

One call of the system a copy, which never waits: what a slow shadow has not read fills the socket's
buffer, and what does not fit is dropped.
"""

import contextlib
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from ferryman.serving.protocols.routes import Route
from ferryman.serving.shadow.request_copies import LARGEST_PACKET, as_file, pack_head

_AGAIN_SECONDS = 0.1
# What waits for a slow shadow: some hundred small requests, and a few large ones, whose bodies are
# not in this buffer but in memory of their own.
_BUFFER, _FILE_BUFFER = 512 * 1024, 4 * 1024


class UnixMirror:
    """Copies to the shadow that listens at `path`, whether or not there is one (see `Mirror`).

    Of one thread.
    """

    def __init__(self, path: Path) -> None:
        self._whole = _Line(path, _BUFFER)
        self._files = _Line(path, _FILE_BUFFER)

    def copy(
        self, request_id: bytes, route: Route, body: bytes, json_length: int | None, entity: bytes
    ) -> bool:
        """Send a copy; False where there is no shadow, or it is too slow."""
        head = pack_head(request_id, route, json_length, entity)
        if len(body) <= LARGEST_PACKET:
            return self._whole.send((head, body))
        return self._files.send((head,), body)

    def close(self) -> None:
        """Let go of the sockets."""
        self._whole.close()
        self._files.close()


class _Line:
    """One connection, made anew when it is gone, but not with every request."""

    def __init__(self, path: Path, buffer: int) -> None:
        self._path = str(path)
        self._buffer = buffer
        self._sock: socket.socket | None = None
        self._not_before = 0.0

    def send(self, parts: Sequence[bytes], in_file: bytes | None = None) -> bool:
        sock = self._sock or self._connect()
        if sock is None:
            return False
        try:
            if in_file is None:
                sock.sendmsg(parts)
            else:
                self._send_file(sock, parts, in_file)
        except BlockingIOError:
            return False
        except OSError:
            self.close()
            return False
        return True

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _send_file(self, sock: socket.socket, parts: Sequence[bytes], body: bytes) -> None:
        descriptor = as_file(body)
        try:
            socket.send_fds(sock, parts, [descriptor])
        finally:
            os.close(descriptor)

    def _connect(self) -> socket.socket | None:
        now = time.monotonic()
        if now < self._not_before:
            return None
        self._not_before = now + _AGAIN_SECONDS
        with contextlib.ExitStack() as undo:
            sock = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._buffer)
            try:
                sock.connect(self._path)
            except OSError:
                return None  # none is there, or it has not yet taken those before
            undo.pop_all()
            self._sock = sock
        return sock
