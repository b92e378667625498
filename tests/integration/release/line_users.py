"""Users of the model `line` over all of a test: what each was told, and whether that was right."""

import http.client
import json
import threading
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple, Self

from line_world import LineWorld, takes

PAUSE = 0.1  # seconds between two requests
_PATIENCE = 20.0


class Seen(NamedTuple):
    """An answer: when, about whom, by whom, after how many `failures` to get one.

    `since` is when its connection was last used: what broke it may have happened then.
    """

    began: float
    ended: float
    key: int
    x: float
    variant: str
    version: int
    epoch: int
    score: float
    failures: int
    since: float


class Permit(NamedTuple):
    """Who may answer: a champion of an epoch, or beside it the candidate of an operation."""

    epoch: int
    version: int
    op_id: str = ""
    weight: float = 0.0

    def fits(self, seen: Seen) -> bool:
        """Whether it allows this answer."""
        if (self.epoch, self.version) != (seen.epoch, seen.version):
            return False
        if not self.op_id:
            return seen.variant in ("champion", "fallback")
        return seen.variant == "canary" and takes(self.op_id, self.weight, seen.key)


def spread(key: int) -> float:
    """An x for a key: wide, so that no line's answers look shifted, and exact to the last bit."""
    return float(4 ** (key % 12))


class User:
    """One connection, made anew where it broke; a request is tried until it is answered."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._http: http.client.HTTPConnection | None = None
        self._used = time.time()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, key: int, x: float) -> Seen:
        """Ask about one; TimeoutError where nobody answers for long."""
        began, since, failures = time.time(), self._used, 0
        while time.time() < began + _PATIENCE:
            try:
                status, headers, content = self._send(key, x)
            except (OSError, http.client.HTTPException):
                self.close()
                status, headers, content = 0, {}, {}
            if status == 200:
                told = [int(headers[f"x-model-{name}"]) for name in ("version", "epoch")]
                who, (score,) = headers["x-model-variant"], content["predictions"]
                self._used = time.time()
                return Seen(began, self._used, key, x, who, *told, score, failures, since)
            failures += 1
            time.sleep(0.05)
        raise TimeoutError(f"nobody answered key {key} for {_PATIENCE:.0f} s")

    def close(self) -> None:
        """Let go of the connection."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def _send(self, key: int, x: float) -> tuple[int, Any, Any]:
        if self._http is None:
            self._http = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        body = json.dumps({"instances": [{"x": x}]})
        self._http.request("POST", "/v1/models/line:predict", body, {"x-entity-key": str(key)})
        response = self._http.getresponse()
        return response.status, response.headers, json.loads(response.read())


@dataclass
class Period:
    """A stretch of time in which any of these might answer, and in which a try might fail."""

    began: float
    ended: float
    permits: frozenset[Permit]
    rough: bool = False


@dataclass
class Permits:
    """Who might answer when, as the ledger says; kept up by whoever acts."""

    periods: list[Period] = field(default_factory=list)

    def check(self, world: LineWorld, seen: Seen) -> None:
        """Raise AssertionError for an answer that is wrong, or by nobody who might give it."""
        assert seen.score == world.made[seen.version].answer(seen.x), seen
        about = self._between(seen.began, seen.ended)
        assert any(permit.fits(seen) for one in about for permit in one.permits), (seen, about)
        if seen.failures:
            assert any(one.rough for one in self._between(seen.since, seen.ended)), (seen, about)

    def _between(self, began: float, ended: float) -> list[Period]:
        return [one for one in self.periods if one.began <= ended and began <= one.ended]


class Background:
    """Ten requests a second from a thread, about one key after the other, over a whole block."""

    def __init__(self, world: LineWorld) -> None:
        self._world = world
        self._seen: list[Seen] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.checked = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def check(self, permits: Permits) -> None:
        """Check what was answered since the last time."""
        assert self._thread.is_alive(), "the user gave up"
        found = self._seen[self.checked :]
        self.checked += len(found)
        for seen in found:
            permits.check(self._world, seen)

    def _ask(self) -> None:
        user = User(self._world.settings.serving_port)
        for key in count():
            if self._stop.wait(PAUSE):
                break
            self._seen.append(user.ask(key, spread(key)))
        user.close()
