"""A real S3 server on this machine (moto's), that can be told to fail.

with S3Server() as server:
    server.connection("lake/some/prefix")      makes the bucket, too
    server.faults.append(busy)                 the next request that it fits meets it
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import httpx
from services.server_thread import in_thread
from werkzeug.serving import make_server

from ferryman.runtime.connections import Connection

Start = Callable[..., Any]
App = Callable[[dict[str, Any], Start], Iterable[bytes]]
Fault = Callable[["S3Server", dict[str, Any], Start], Iterable[bytes]]
KEY, SECRET = "test-access-key", "test-secret-of-the-access-key"


@dataclass
class S3Server:
    """Moto behind a door that counts, delays and spoils."""

    methods: tuple[str, ...] = ("GET", "PUT", "HEAD", "DELETE")
    faults: list[Fault] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "S3Server":
        from moto.moto_server.werkzeug_app import (
            DomainDispatcherApplication,
            MotoRequestHandler,
            create_backend_app,
        )

        self._moto: App = DomainDispatcherApplication(create_backend_app)
        self._one_at_a_time = threading.Lock()
        self._server = make_server(
            "127.0.0.1", 0, self._answer, threaded=True, request_handler=MotoRequestHandler
        )
        self._server.daemon_threads = True
        self._running = in_thread(self._server)
        self._running.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self.faults.clear()
        # All of moto's servers in a process keep the same buckets.
        httpx.post(f"{self.url}/moto-api/reset").raise_for_status()
        self._running.__exit__(None, None, None)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def connection(self, path: str, *, bucket: bool = True, name: str = "lake") -> Connection:
        """A connection to BUCKET/PREFIX; the bucket is made unless told otherwise."""
        if bucket:
            self.client().create_bucket(Bucket=path.partition("/")[0])
        return Connection(
            name=name,
            url=f"s3://{path}",
            login=KEY,
            password=SECRET,
            options={"endpoint": self.url, "region": "us-east-1"},
        )

    def client(self) -> Any:
        """A plain client of the same server."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )

    def answer_well(self, environ: dict[str, Any], start: Start) -> list[bytes]:
        """What moto answers. One request at a time: moto looks and writes in two steps."""
        with self._one_at_a_time:
            return list(self._moto(environ, start))

    def _answer(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        self.asked.append(f"{method} {environ['PATH_INFO']}")
        if self.faults and method in self.methods:
            return self.faults.pop(0)(self, environ, start)
        return self.answer_well(environ, start)


def busy(server: S3Server, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    """503, as S3 says it under load."""
    _drain(environ)
    start("503 Slow Down", [("Content-Type", "application/xml")])
    return [b"<Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>"]


def refused(server: S3Server, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    """403."""
    _drain(environ)
    start("403 Forbidden", [("Content-Type", "application/xml")])
    return [b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"]


def fine(server: S3Server, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    """No fault, to let one request pass."""
    return server.answer_well(environ, start)


def silent(server: S3Server, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    """Says nothing for as long as the test lives."""
    server.go_on.wait()
    return busy(server, environ, start)


def short_body(server: S3Server, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    """A good answer, cut off in the middle of its body."""
    body = b"".join(server.answer_well(environ, start))
    return [body[: len(body) // 2]]


def spoilt_body(server: S3Server, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    """A good answer with one bit of its body turned."""
    body = bytearray(b"".join(server.answer_well(environ, start)))
    body[0] ^= 1
    return [bytes(body)]


def lost_reply(server: S3Server, environ: dict[str, Any], start: Start) -> Iterator[bytes]:
    """The request is carried out; the connection ends before the answer."""

    def nothing(*_: Any) -> None:
        """Keep the head of the answer back."""

    server.answer_well(environ, nothing)
    environ["werkzeug.socket"].shutdown(2)
    start("500 Never seen", [])
    return iter([b""])


def _drain(environ: dict[str, Any]) -> None:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    environ["wsgi.input"].read(length)
