"""uvicorn's protocol with a short cut: a whole small prediction is answered where it is read.

An ASGI request costs a task, an event, three dictionaries and two writes before any of it is ours:
as much as reading, checking, scoring and answering one row. So what has come as a whole is offered
to the application first; what it does not answer at once goes the usual way, from the beginning.
"""

from collections.abc import Callable
from typing import Any

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

# (url, headers, body, open connections) -> the bytes of an HTTP/1.1 answer, or None.
AtOnce = Callable[[bytes, list[tuple[bytes, bytes]], bytes, int], bytes | None]


class DirectProtocol(HttpToolsProtocol):
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
        if self._held is not None and self._answer_at_once is not None:
            held, self._held = self._held, None
            body = held[0] if len(held) == 1 else b"".join(held)
            answer = self._answer_at_once(self.url, self.headers, body, len(self.connections))
            if answer is not None:
                self.transport.write(answer)
                self.on_response_complete()
                return
            self._hand_in(held)
        super().on_message_complete()

    def _hand_in(self, held: list[bytes]) -> None:
        super().on_headers_complete()
        for piece in held:
            super().on_body(piece)
