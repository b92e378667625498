"""Where copies of requests go while a candidate is a shadow."""

from typing import Protocol

from ferryman.serving.protocols.routes import Route


class Mirror(Protocol):
    """Sends requests on to a shadow."""

    def copy(
        self, request_id: bytes, route: Route, body: bytes, json_length: int | None, entity: bytes
    ) -> bool:
        """Send a copy of a request that was answered; it never waits and never fails.

        `entity` is whom the client says that it is about. False where the copy could not be sent:
        it is dropped.
        """
        ...

    def close(self) -> None:
        """Let go of what copies are sent by."""
        ...


class Copies:
    """A replica's copies for one shadow: how many were sent, and those that still wait.

    They are sent a few at a time. Each that is sent alone wakes the shadow, which takes longer than
    the copy does, and just when the client wakes for its answer.
    """

    def __init__(self, mirror: Mirror | None) -> None:
        self._mirror = mirror
        self._waiting: list[tuple[bytes, Route, bytes, int | None, bytes]] = []
        self.sent = self.dropped = 0

    def add(
        self, request_id: bytes, route: Route, body: bytes, json_length: int | None, entity: bytes
    ) -> int:
        """Keep a copy until the next `send`; how many wait now. See `Mirror.copy`."""
        self._waiting.append((request_id, route, body, json_length, entity))
        return len(self._waiting)

    def send(self) -> int:
        """Send what waits; how many could not be sent, and are dropped."""
        waiting, self._waiting = self._waiting, []
        sent = 0 if self._mirror is None else sum(self._mirror.copy(*copy) for copy in waiting)
        self.sent += sent
        self.dropped += len(waiting) - sent
        return len(waiting) - sent

    def go_on(self, former: "Copies") -> None:
        """Count on from others of the same stage."""
        self.sent, self.dropped = former.sent, former.dropped

    def close(self) -> None:
        """Send what waits, and let go of the mirror."""
        self.send()
        if self._mirror is not None:
            self._mirror.close()
        self._mirror = None
