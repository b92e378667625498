"""Reading the body of a request: not too large, not too late, not packed."""

import asyncio

from ferryman.serving.protocols.answers import Receive, Refusal

_LOOK_SECONDS = 1.0


class BodyReader:
    """Reads bodies of at most `limit` bytes that arrive within `seconds`.

    One timer looks after all of them: a timer of its own costs a request more than its counting.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._reading: dict[asyncio.Task[object], float] = {}
        self._late: set[asyncio.Task[object]] = set()
        self._every = min(_LOOK_SECONDS, seconds)
        self._looking = False

    async def read(self, receive: Receive) -> bytes:
        """The whole body; Refusal 413 above the limit, without reading the rest, 408 when late."""
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        if task is None:
            raise RuntimeError("a body is read in a task")
        self._reading[task] = loop.time()
        if not self._looking:
            self._looking = True
            loop.call_later(self._every, self._look)
        try:
            return await _read(receive, self._limit)
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            task.uncancel()
            raise Refusal(408, "the body did not arrive in time") from None
        finally:
            del self._reading[task]
            self._late.discard(task)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time() - self._seconds
        for task, since in self._reading.items():
            if since < begun and task not in self._late:
                self._late.add(task)
                task.cancel()
        self._looking = bool(self._reading)
        if self._looking:
            loop.call_later(self._every, self._look)


async def _read(receive: Receive, limit: int) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if message["type"] == "http.disconnect":
            raise Refusal(400, "the client went away")
        if len(body) <= limit:
            return body
    pieces = [body]
    size = len(body)
    while message.get("more_body", False) and size <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "the client went away")
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
    if size > limit:
        raise Refusal(413, f"the body is larger than {limit} bytes")
    return b"".join(pieces)
