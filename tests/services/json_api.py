"""A JSON API on this machine that pages, and that can be told to fail, to limit and to lie.

with JsonApi(records) as api:
    api.connection("api")
    api.faults.append(status(503))      the next request meets it
"""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from services.server_thread import in_thread

from ferryman.runtime.connection_url import parse_connection
from ferryman.runtime.connections import Connection

Fault = Callable[["Request"], None]
TOKEN = "t0ken-of-the-test%/+"


@dataclass
class Request:
    """One request, as a fault sees it; what it sends itself takes the place of the answer."""

    api: "JsonApi"
    handler: BaseHTTPRequestHandler
    params: Mapping[str, str]

    def send(
        self, body: bytes, *, status: int = 200, kind: str = "application/json", **headers: str
    ) -> None:
        """Send a whole answer; underscores in names of headers become dashes."""
        self.handler.send_response(status)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {
            "content-type": kind,
            "content-length": str(len(body)),
            **names,
        }.items():
            if value:
                self.handler.send_header(name, value)
        self.handler.end_headers()
        self.handler.wfile.write(body)

    def send_json(self, value: Any) -> None:
        """Send a value."""
        self.send(json.dumps(value).encode())

    def answer(self) -> dict[str, Any]:
        """The true answer: a page of records, the cursor of the next, the number of all."""
        api = self.api
        first = int(self.params.get("cursor", 0))
        found = [record for record in api.records if self._inside(record)]
        page = found[first : first + api.page_size]
        more = first + api.page_size < len(found)
        return {
            "data": {"items": page},
            "meta": {"next": str(first + api.page_size) if more else None, "total": len(found)},
        }

    def _inside(self, record: Mapping[str, Any]) -> bool:
        since, until = self.params.get("since"), self.params.get("until")
        time = str(record.get("at"))
        return (since is None or time >= since) and (until is None or time < until)


@dataclass
class JsonApi:
    """The server; `faults` are met one a request, `lies` change true answers by page."""

    records: list[dict[str, Any]] = field(default_factory=list)
    page_size: int = 25
    faults: list[Fault] = field(default_factory=list)
    always: Fault | None = None
    asked: list[str] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "JsonApi":
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                api.meet(self)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._running = in_thread(self._server)
        self._running.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._running.__exit__(None, None, None)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def connection(
        self, name: str = "api", userinfo: str = ":" + quote(TOKEN, safe="")
    ) -> Connection:
        """How sources reach it: by a token, unless told otherwise."""
        return parse_connection(name, self.url.replace("//", f"//{userinfo}@") + "/v1")

    def meet(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request, or let a fault do it."""
        self.asked.append(handler.path)
        request = Request(self, handler, dict(parse_qsl(urlsplit(handler.path).query)))
        fault = self.faults.pop(0) if self.faults else self.always
        try:
            if fault is not None:
                fault(request)
            elif handler.headers["authorization"] != f"Bearer {TOKEN}":
                request.send(b"{}", status=401)
            else:
                request.send_json(request.answer())
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True  # the client went away, as some tests want it to


def status(number: int, **headers: str) -> Fault:
    """A fault: another status; the body repeats what was sent, secrets included."""

    def send(request: Request) -> None:
        told = str(request.handler.headers).encode()
        request.send(told, status=number, kind="text/plain", **headers)

    return send


def answer_with(body: bytes, **headers: str) -> Fault:
    """A fault: this body instead of the true one."""
    return lambda request: request.send(body, **headers)


def lie(change: Callable[[dict[str, Any]], Any]) -> Fault:
    """A fault: the true answer, changed."""
    return lambda request: request.send_json(change(request.answer()))
