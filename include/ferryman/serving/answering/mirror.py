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
