"""Requests that got no prediction: a line each with the cause, and a count of those left out.

What a client sent stands in none: values are masked. Errors of the server have lines of their own
beside those of clients, so that a flood of bad requests hides no failure.
"""

import asyncio
import logging
import time

from ferryman.runtime.log_masks import without_values
from ferryman.serving.models.onnx_model import OnnxModel

_LINES = 20
_SECONDS = 10.0
_LONGEST = 1_000  # characters of a cause
_BAD, _FAILED = 400, 500

logger = logging.getLogger(__name__)


class RequestErrors:
    """At most `lines` in so many `seconds`, of clients' errors and of the server's alike.

    Belongs to the event loop's thread; what is left out costs a comparison and a count.
    """

    def __init__(self, *, lines: int = _LINES, seconds: float = _SECONDS) -> None:
        self._of_clients = _Kind(logging.WARNING, "refused", lines, seconds)
        self._of_the_server = _Kind(logging.ERROR, "failed", lines, seconds)

    def tell(  # noqa: PLR0913 - what a request's error belongs to
        self,
        status: int,
        cause: str,
        *,
        request_id: bytes,
        route: str,
        model: OnnxModel | None = None,
        variant: str = "",
        error: Exception | None = None,
    ) -> None:
        """Write the line of a request with a bad status, or count it.

        `error` is what nobody expected.
        """
        if status < _BAD:
            return
        kind = self._of_the_server if status >= _FAILED else self._of_clients
        if not kind.admits():
            return
        identity = None if model is None else model.identity
        logger.log(
            kind.level,
            "%s %s with %d: %s",
            route,
            kind.word,
            status,
            without_values(cause[:_LONGEST]),
            exc_info=error,
            extra={
                "request_id": request_id.decode("ascii", errors="replace"),
                "status": status,
                "variant": variant,
                **(
                    {}
                    if identity is None
                    else {
                        "model": identity.name,
                        "version": identity.version,
                        "epoch": identity.epoch,
                    }
                ),
            },
        )


class _Kind:
    def __init__(self, level: int, word: str, lines: int, seconds: float) -> None:
        self.level, self.word = level, word
        self._lines, self._seconds = lines, seconds
        self._until = self._told = self._left_out = 0.0

    def admits(self) -> bool:
        now = time.monotonic()
        if now >= self._until:
            self._tell_left_out()
            self._until, self._told = now + self._seconds, 0
        if self._told < self._lines:
            self._told += 1
            return True
        if not self._left_out:
            asyncio.get_running_loop().call_later(self._until - now, self._tell_left_out)
        self._left_out += 1
        return False

    def _tell_left_out(self) -> None:
        if not self._left_out:
            return
        count, self._left_out = int(self._left_out), 0
        logger.log(
            self.level,
            "more requests %s in %g seconds than have lines",
            self.word,
            self._seconds,
            extra={"suppressed": count},
        )
