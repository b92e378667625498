"""A tracking server that is away, silent or failing is exit 6 within 30 seconds."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ferryman.errors import DependencyUnavailable, IntegrityBroken
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.registry.mlflow_tracking import MlflowTracker


@contextmanager
def closed_port() -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    yield port


@contextmanager
def silent_port() -> Iterator[int]:
    """Takes connections, and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(16)
        yield server.getsockname()[1]


class Failing(BaseHTTPRequestHandler):
    def _fail(self) -> None:
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = _fail  # noqa: N815 - the names that http.server looks for

    def log_message(self, *arguments: object) -> None:
        """Nothing on stderr."""


@contextmanager
def failing_port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Failing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("kind", [closed_port, silent_port, failing_port])
def test_a_server_that_does_not_answer_is_unavailable(
    kind: Callable[[], "contextmanager[int]"], tmp_path: Path
) -> None:
    with kind() as port:
        uri = f"http://user:secret@127.0.0.1:{port}"
        started = time.monotonic()
        with pytest.raises(
            DependencyUnavailable, match=rf"at http://127\.0\.0\.1:{port}"
        ) as caught:
            MlflowTracker(uri, tmp_path).start("rain", "r", "k", {})
        assert time.monotonic() - started < 30
        assert "user:secret@" not in str(caught.value).split(":", 3)[1]


def test_the_registry_is_unavailable_too(tmp_path: Path) -> None:
    with closed_port() as port:
        registry = MlflowRegistry(f"http://127.0.0.1:{port}", tmp_path)
        started = time.monotonic()
        with pytest.raises(DependencyUnavailable):
            registry.register("rain", "k", "d", "file:///x", {})
        assert time.monotonic() - started < 30


def test_a_database_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").mkdir()
    tracker = MlflowTracker(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    started = time.monotonic()
    with pytest.raises(DependencyUnavailable, match="unable to open database file"):
        tracker.start("rain", "r", "k", {})
    assert time.monotonic() - started < 30


def test_a_file_that_is_no_database_is_broken(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this has never been a database" * 100)
    tracker = MlflowTracker(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    with pytest.raises(IntegrityBroken, match="not a database"):
        tracker.start("rain", "r", "k", {})
