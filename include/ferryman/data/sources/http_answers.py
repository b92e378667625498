"""One JSON answer of an API: asked for with patience, at a measured pace; believed if whole."""

import random
import re
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Any, NoReturn

import httpx

from ferryman.data.sources.line_limit import LineLimit
from ferryman.data.sources.strict_json import NotJson, read_json
from ferryman.errors import DataRejected, DependencyUnavailable, PolicyRefused, SpecError
from ferryman.runtime.connections import Connection
from ferryman.runtime.http_client import open_client

_CHUNK = 64 << 10
_QUIET_SECONDS = 30.0  # without any byte
_LONGEST_PAUSE = 30.0
_REDIRECTS = 5
_TRY_AGAIN = frozenset({408, 425, 429})
_JSON = re.compile(r"application/([\w.+-]+\+)?json", re.IGNORECASE)
_CUT = "The answer was no JSON of the API; look at it with curl, then run again."

_random = random.SystemRandom()


class Pace:
    """At most so many requests a second, by however many threads."""

    def __init__(self, per_second: float) -> None:
        self._gap = 1 / per_second
        self._lock = Lock()
        self._next = 0.0

    def wait(self, longest: float) -> None:
        """Sleep until it is this caller's turn, or `longest` seconds."""
        with self._lock:
            now = time.monotonic()
            turn = max(self._next, now)
            self._next = turn + self._gap
        time.sleep(min(turn - now, longest))


@dataclass(frozen=True)
class Manners:
    """How to ask: attempts a page, the first pause between two, and the largest answer in bytes."""

    attempts: int
    max_bytes: int
    pause: float = 0.5


class _Again(Exception):
    """The attempt may be repeated, after `wait` seconds where the server said so; stays in here."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


class HttpAnswers:
    """Asks one API; close it after use. `limit` bounds all requests together."""

    def __init__(
        self, connection: Connection, manners: Manners, pace: Pace, limit: LineLimit, shown: str
    ) -> None:
        self._connection = connection
        self._manners = manners
        self._pace = pace
        self._limit = limit
        self._shown = shown
        self._base = httpx.URL(connection.url)
        self._client = open_client(connection, shown)

    def close(self) -> None:
        """Let go of the API's line."""
        self._client.close()

    def get(self, path: str, params: Mapping[str, str], page: int) -> Any:
        """The JSON value of one page.

        Raises DependencyUnavailable (exit 6) where attempts or patience end or the login is
        refused, PolicyRefused (9) for what the login may not see and for a way to another host,
        SpecError (2) for a path that is not there, DataRejected (3) for an answer that is no JSON.
        """
        where = f"{self._shown}: page {page}"
        url = self._base.copy_with(path=self._base.path.rstrip("/") + path)
        for attempt in range(1, self._manners.attempts + 1):
            try:
                return self._attempt(url, params, where)
            except _Again as error:
                self._rest(error, attempt, where)
        raise AssertionError("the last attempt has raised")

    def _rest(self, error: _Again, attempt: int, where: str) -> None:
        """Wait before the next attempt; DependencyUnavailable where there is none."""
        if self._limit.passed or self._limit.left <= 0:
            raise DependencyUnavailable(
                f"{where}: no whole answer within {self._limit.seconds:g} s: {error}",
                remedy="Look whether the API is slow or hangs, or declare a longer `patience`.",
            ) from None
        if attempt == self._manners.attempts:
            raise DependencyUnavailable(f"{where}: {error} ({attempt} attempts)") from None
        pause = min(self._manners.pause * 2 ** (attempt - 1), _LONGEST_PAUSE)
        wait = _random.uniform(pause / 2, pause) if error.wait is None else error.wait
        if wait > self._limit.left:
            raise DependencyUnavailable(
                f"{where}: {error}; it asks for {wait:.0f} s, and {self._limit.left:.0f} s of "
                "patience are left",
                remedy="Run again later, or declare a longer `patience`.",
            ) from None
        time.sleep(wait)

    def _attempt(self, url: httpx.URL, params: Mapping[str, str], where: str) -> Any:
        url = url.copy_merge_params(dict(params))
        for _ in range(_REDIRECTS):
            self._pace.wait(self._limit.left)
            try:
                with self._client.stream(
                    "GET", url, timeout=self._timeout(), extensions={"trace": self._hold}
                ) as response:
                    if not response.has_redirect_location:
                        return self._judge(response, where)
                    url = self._next_place(url, response.headers["location"], where)
            except httpx.TimeoutException:
                raise _Again("no answer in time") from None
            except httpx.TransportError as error:
                raise _Again(self._connection.hide_secrets(error)) from None
        raise DataRejected(f"{where}: redirected more than {_REDIRECTS} times")

    def _timeout(self) -> httpx.Timeout:
        return httpx.Timeout(min(_QUIET_SECONDS, max(self._limit.left, 0.05)))

    def _hold(self, event: str, info: Mapping[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._limit.hold(info["return_value"].get_extra_info("socket").fileno())

    def _next_place(self, url: httpx.URL, location: str, where: str) -> httpx.URL:
        try:
            target = url.join(location)
        except httpx.InvalidURL:
            raise DataRejected(f"{where}: redirected to what is no URL") from None
        if (target.scheme, target.host, target.port) != (url.scheme, url.host, url.port):
            port = f":{target.port}" if target.port else ""
            raise PolicyRefused(
                f"{where}: redirected to another place, {target.scheme}://{target.host[:100]}{port}",
                remedy=f"If that is right, let connection {self._connection.name!r} lead there.",
            )
        return target

    def _judge(self, response: httpx.Response, where: str) -> Any:
        status = response.status_code
        if status in _TRY_AGAIN or status >= 500:
            raise _Again(f"answered {_named(status)}", _retry_after(response.headers))
        if status != 200:
            self._refuse(status, where)
        return self._value(response, where)

    def _refuse(self, status: int, where: str) -> NoReturn:
        text, name = f"{where}: answered {_named(status)}", self._connection.name
        if status == 401:
            raise DependencyUnavailable(
                f"{text}: the login of connection {name!r} is refused",
                remedy="Renew its token or password.",
            )
        if status == 403:
            raise PolicyRefused(text, remedy=f"Let the login of connection {name!r} read it.")
        if 200 <= status < 300:
            raise DataRejected(f"{text}, not 200", remedy=_CUT)
        raise SpecError(text, remedy="Correct the source's path and query, or the connection.")

    def _value(self, response: httpx.Response, where: str) -> Any:
        kind = response.headers.get("content-type", "")
        if not _JSON.fullmatch(kind.partition(";")[0].strip()):
            raise DataRejected(f"{where}: answered {kind[:60]!r}, not JSON", remedy=_CUT)
        body = self._body(response, where)
        try:
            return read_json(body.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise DataRejected(
                f"{where}: not UTF-8 text at byte {error.start + 1}", remedy=_CUT
            ) from None
        except NotJson as error:
            if not {"content-length", "transfer-encoding"} & set(response.headers):
                # Nothing told where this answer ends: it may have been cut on its way.
                raise _Again(f"not JSON, perhaps cut short: {error}") from None
            raise DataRejected(f"{where}: not JSON: {error}", remedy=_CUT) from None

    def _body(self, response: httpx.Response, where: str) -> bytes:
        """The body, unpacked, of at most max_bytes before and after."""
        packing = response.headers.get("content-encoding", "identity").strip().lower()
        if packing not in ("identity", "gzip"):
            raise DataRejected(f"{where}: packed with {packing[:40]!r}, which was not asked for")
        unpack = zlib.decompressobj(wbits=31) if packing == "gzip" else None
        body, packed, most = bytearray(), 0, self._manners.max_bytes
        for piece in response.iter_raw(_CHUNK):
            packed += len(piece)
            try:
                # One byte more than allowed is enough to know, however much there is.
                room = most - len(body) + 1
                body += piece if unpack is None else unpack.decompress(piece, room)
            except zlib.error:
                raise DataRejected(f"{where}: damaged gzip", remedy=_CUT) from None
            if len(body) > most or packed > most:
                raise DataRejected(
                    f"{where}: the answer is larger than {most} bytes",
                    remedy="Ask for smaller pages, or declare a larger max_bytes.",
                )
        if unpack is not None and not unpack.eof:
            raise _Again("the gzip ends before its end")
        return bytes(body)


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds that the server asks to wait: a number of them, or a date."""
    given = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,6}", given):
        return float(given)
    try:
        moment = parsedate_to_datetime(given)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((aware - datetime.now(UTC)).total_seconds(), 0.0)


def _named(status: int) -> str:
    return f"{status} {httpx.codes.get_reason_phrase(status)}".strip()
