"""The channel between front and replica: messages in order, each with at most one descriptor.

A message is a JSON object in one packet; one that is too large for a packet goes as a file in
memory whose descriptor is passed. A packet is received whole or not at all, even from a peer that
was killed.
"""

import array
import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

import orjson

from ferryman import errors
from ferryman.errors import DependencyUnavailable, FerrymanError

Message = dict[str, Any]
Handler = Callable[[Message, int | None], None]

_PACKET = 48 * 1024
_BATCH = 64
_CLOEXEC: int = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

logger = logging.getLogger(__name__)


class Channel:
    """One end. `on_message` gets each message with its descriptor, which is then the receiver's.

    `on_end` is called once, when the other end is gone; `undelivered` then holds the descriptors
    that did not reach it, the caller's again. Of one event loop.
    """

    def __init__(
        self, sock: socket.socket, on_message: Handler, on_end: Callable[[], None]
    ) -> None:
        self._sock = sock
        self._on_message = on_message
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[tuple[bytes, int | None]] = deque()
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self.closed = False
        self.undelivered: list[int] = []
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._read)

    def send(self, message: Message, descriptor: int | None = None) -> None:
        """Send a message; the descriptor is closed here as soon as it is on its way."""
        if self.closed:
            _close(descriptor)
            return
        packet = orjson.dumps(message)
        if len(packet) > _PACKET:
            packet, descriptor = b'{"in_file":true}', _as_file(packet)
        self._unsent.append((packet, descriptor))
        if len(self._unsent) == 1:
            self._write()

    async def ask(self, message: Message, seconds: float) -> Any:
        """Send a message and wait for its answer.

        Raises the FerrymanError that the other end answers with; DependencyUnavailable (exit 6)
        when it goes, or does not answer in time.
        """
        number = next(self._numbers)
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._asked[number] = answer
        try:
            self.send({**message, "id": number})
            if self.closed:
                raise DependencyUnavailable("the other end of the channel is gone")
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            text = f"no answer to {message['kind']!r} within {seconds:g} s"
            raise DependencyUnavailable(text) from None
        finally:
            self._asked.pop(number, None)

    def answer(self, message: Message, value: Any) -> None:
        """Answer what was asked."""
        self.send({"kind": "answer", "id": message["id"], "value": value})

    def refuse(self, message: Message, error: Exception) -> None:
        """Answer with an error."""
        self.send({"kind": "answer", "id": message["id"], "error": told_error(error)})

    @property
    def drained(self) -> bool:
        """Whether all that was sent is on its way."""
        return not self._unsent

    def peer(self) -> int:
        """The process id of the other end, as this end sees it."""
        size = array.array("i").itemsize
        credentials = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 3 * size)
        return array.array("i", credentials)[0]

    def close(self) -> None:
        """End the channel; the other end learns of it."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self.undelivered = [sent for _, sent in self._unsent if sent is not None]
        self._unsent.clear()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(DependencyUnavailable("the replica is gone"))
        self._on_end()

    def _write(self) -> None:
        while self._unsent:
            packet, descriptor = self._unsent[0]
            try:
                socket.send_fds(self._sock, [packet], [] if descriptor is None else [descriptor])
            except BlockingIOError:
                self._loop.add_writer(self._sock.fileno(), self._write)
                return
            except OSError as error:
                # What the other end sent before it went is still to be read: reading ends it.
                logger.debug("a channel is gone: %s", error)
                self._loop.remove_writer(self._sock.fileno())
                return
            self._unsent.popleft()
            _close(descriptor)
        self._loop.remove_writer(self._sock.fileno())

    def _read(self) -> None:
        for _ in range(_BATCH):
            if self.closed:
                return
            try:
                packet, descriptors, _, _ = socket.recv_fds(self._sock, _PACKET + 1, 1, _CLOEXEC)
            except BlockingIOError:
                return
            except ConnectionError:
                # The other end went with something of ours unread. That is told once, and before
                # what it sent last, which is still there.
                continue
            if not packet:
                self.close()
                return
            self.take(packet, descriptors[0] if descriptors else None)

    def take(self, packet: bytes, descriptor: int | None) -> None:
        """Treat a packet that was received."""
        message: Message = orjson.loads(packet)
        if message.get("in_file"):
            message, descriptor = orjson.loads(_read_file(descriptor)), None
        if message["kind"] != "answer":
            self._on_message(message, descriptor)
            return
        answer = self._asked.get(message["id"])
        if answer is not None and not answer.done():
            if "error" in message:
                answer.set_exception(rebuild_error(message["error"]))
            else:
                answer.set_result(message["value"])


def told_error(error: Exception) -> Message:
    """An error as it is told to another process: its class, text and remedy."""
    text, remedy = str(error), None
    if isinstance(error, FerrymanError):
        text, remedy = error.text, error.remedy
    return {"class": type(error).__name__, "text": text, "remedy": remedy}


def rebuild_error(told: Message) -> FerrymanError:
    """The error that another process told; one that is none of ours as DependencyUnavailable."""
    kind = getattr(errors, told["class"], None)
    if not (isinstance(kind, type) and issubclass(kind, FerrymanError)):
        return DependencyUnavailable(f"{told['class']}: {told['text']}")
    return kind(told["text"], remedy=told["remedy"])


def _as_file(content: bytes) -> int:
    descriptor = os.memfd_create("ferryman-message", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as stream:
        stream.write(content)
    return descriptor


def _read_file(descriptor: int | None) -> bytes:
    if descriptor is None:
        raise OSError("a message's file was not passed: too many open files")
    with os.fdopen(descriptor, "rb") as stream:
        stream.seek(0)
        return stream.read()


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)
