"""An alert arrives or it does not; it never raises, and never says where it was sent."""

import json
import logging
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from ferryman.runtime.alerts import alert
from ferryman.runtime.connections import Connection, GivenConnections
from ferryman.settings import Settings


def _alert(tmp_path: Path, *connections: Connection) -> bool:
    settings = Settings(home=tmp_path, zoo=tmp_path)
    facts = {"rule": "errors", "version": 2, "title": "not this one"}
    return alert(settings, "tiny: aborted", "x" * 3000, facts, GivenConnections(*connections))


@pytest.mark.parametrize(("status", "arrived"), [(204, True), (500, False)])
def test_an_alert_is_one_post_of_json(tmp_path: Path, status: int, arrived: bool) -> None:
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """What came is looked at, not a log."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/hook/t0ken"
        assert _alert(tmp_path, Connection("alerts", url)) is arrived
        thread.join()
    assert received == [
        {"rule": "errors", "version": 2, "title": "tiny: aborted", "text": "x" * 2000}
    ]


def test_a_dead_channel_breaks_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert not _alert(tmp_path)
    assert not _alert(tmp_path, Connection("alerts", "http://127.0.0.1:9/hook/t0ken"))
    assert "ALERT tiny: aborted" in caplog.text
    assert "t0ken" not in caplog.text
