"""uvicorn's protocol with a short cut: a whole small prediction is answered where it is read.

An ASGI request costs a task, an event, three dictionaries and two writes before any of it is ours:
as much as reading, checking, scoring and answering one row. So what has come as a whole is offered
to the application first; what it does not answer goes the usual way, from the beginning.

A request's head is bounded here too, in bytes and in time: uvicorn bounds neither.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

# Takes the bytes of an HTTP/1.1 answer, or None for a request that must go the usual way.
Later = Callable[[bytes | None], None]
# Lets a request be answered that waits for the end of the event loop's turn.
Settle = Callable[[], None]
# (url, headers, body, open connections, later) -> the answer; or None: the usual way; or Settle:
# `later` gets the answer at the end of this turn, or as soon as that is called.
AtOnce = Callable[
    [bytes, list[tuple[bytes, bytes]], bytes, int, Later],
    bytes | Settle | None,
]

MAX_HEAD = 64 * 1024  # and what one reading brings besides
HEAD_SECONDS = 30.0


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol for heads of requests that are neither endless nor endlessly slow."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: Any = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._in_head = self._ended = False
        self._head = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection that never says anything is as idle as one between two requests."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._end_head_timer()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read; 400 for a head that is too long."""
        was_in_head, self._ended = self._in_head, False
        super().data_received(data)
        if not self._in_head:
            return
        # What another request's end came with is not known by its length.
        if was_in_head or not self._ended:
            self._head += len(data)
        if self.transport.is_closing():
            return
        if self._head > MAX_HEAD:
            self.send_400_response("The head of the request is too long.")
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head, self._head = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head = False
        if self._head_timer is not None:
            self._end_head_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is there."""
        self._ended = True
        super().on_message_complete()

    def _head_is_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _end_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class DirectProtocol(BoundedProtocol):
    """Offers whole POST requests to the application's `answer_at_once`, if it has one."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: Any = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._answer_at_once: AtOnce | None = getattr(config.app, "answer_at_once", None)
        # The pieces of a body that may yet be whole; None: nothing is held back.
        self._held: list[bytes] | None = None
        # While a whole request waits for the end of the turn: what ends the waiting.
        self._settle: Settle | None = None
        self._waiting_body = b""

    def data_received(self, data: bytes) -> None:
        """What is not whole after one reading goes the usual way, so that its time is watched."""
        super().data_received(data)
        if self._held is not None:
            held, self._held = self._held, None
            if not self.transport.is_closing():
                try:
                    self._hand_in(held)
                except (httptools.HttpParserError, UnicodeDecodeError):
                    self.send_400_response("Invalid HTTP request received.")

    def on_message_begin(self) -> None:
        """Answer what waits before its head is forgotten, and in the order of the requests."""
        if self._settle is not None:
            self._settle()
        super().on_message_begin()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, after all that came before it."""
        if self._settle is not None:
            self._settle()
        super().send_400_response(msg)

    def eof_received(self) -> None:
        """The client sends no more: the connection ends with this turn."""
        if self._settle is not None:
            self._settle()
        super().eof_received()

    def on_headers_complete(self) -> None:
        """Hold a request back whose turn it is and which may be answered at once."""
        parser = self.parser
        if (
            self._answer_at_once is not None
            and parser.get_method() == b"POST"
            and (self.cycle is None or self.cycle.response_complete)
            and not self.expect_100_continue
            and not self.flow.write_paused
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and parser.get_http_version() == "1.1"
        ):
            self._in_head = False
            if self._head_timer is not None:
                self._end_head_timer()
            self._held = []
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._held is None:
            super().on_body(body)
        else:
            self._held.append(body)

    def on_message_complete(self) -> None:
        """Answer what was held back, or let it go the usual way."""
        if self._held is None or self._answer_at_once is None:
            super().on_message_complete()
            return
        self._ended = True
        held, self._held = self._held, None
        body = held[0] if len(held) == 1 else b"".join(held)
        answer = self._answer_at_once(
            self.url, self.headers, body, len(self.connections), self._answer_later
        )
        if isinstance(answer, bytes):
            self.transport.write(answer)
            self.on_response_complete()
        elif answer is None:
            self._go_the_usual_way(body)
        else:
            self._settle, self._waiting_body = answer, body

    @property
    def is_waiting(self) -> bool:
        """Whether a request waits for its answer at the end of this turn."""
        return self._settle is not None

    def _answer_later(self, answer: bytes | None) -> None:
        body, self._settle, self._waiting_body = self._waiting_body, None, b""
        if self.transport.is_closing():
            return
        if answer is None:
            self._go_the_usual_way(body)
        else:
            self.transport.write(answer)
            self.on_response_complete()

    def _go_the_usual_way(self, body: bytes) -> None:
        self._hand_in([body])
        super().on_message_complete()

    def _hand_in(self, held: list[bytes]) -> None:
        super().on_headers_complete()
        for piece in held:
            super().on_body(piece)
