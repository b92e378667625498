"""A limit of time for a line to somewhere: when it is over, the line is cut, waiting or not."""

import os
import socket
import time
from contextlib import suppress
from threading import Lock, Timer
from types import TracebackType


class LineLimit:
    """Cuts the sockets that it holds when `seconds` are over; `passed` says that it did.

    Timeouts of single reads do not end a wait for somebody who sends a byte now and then, nor for a
    server that was stopped: this does. A copy of each socket's number is held, so that a number
    that was given to another socket since is never touched.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.passed = False
        self._deadline = time.monotonic() + seconds
        self._lock = Lock()
        self._copies: list[socket.socket] = []
        self._timer = Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> "LineLimit":
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for copy in self._copies:
                copy.close()
            self._copies.clear()

    @property
    def left(self) -> float:
        """Seconds until the limit; never below zero."""
        return max(self._deadline - time.monotonic(), 0.0)

    def hold(self, number: int) -> None:
        """Cut this socket, too, when time is over (now, if it is)."""
        with self._lock:
            self._copies.append(socket.socket(fileno=os.dup(number)))
        if self.passed:
            self._cut()

    def _cut(self) -> None:
        self.passed = True
        with self._lock:
            for copy in self._copies:
                with suppress(OSError):  # it is closed at the other end already
                    copy.shutdown(socket.SHUT_RDWR)
