"""Alerts on channels of apprise: a real mail server, a real HTTP server, and channels that fail."""

import email
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from rollback_world import alert_channel

from ferryman.runtime.alerts import alert, send
from ferryman.runtime.connection_url import parse_connection
from ferryman.runtime.connections import Connection, GivenConnections
from ferryman.runtime.ports import free_ports
from ferryman.settings import Settings
from ferryman.spec.notify import ChannelSpec, NotifySpec

MESSAGE = {
    "title": "flights: drift",
    "text": "wind_speed moved <b>0.4</b> sd {{ 7 * 7 }}",
    "model": "flights",
    "remedy": "flights.monitoring",
}


class _Mails:
    """Keeps what mail comes."""

    def __init__(self) -> None:
        self.received: list[Message] = []

    async def handle_DATA(  # noqa: N802 - aiosmtpd calls it so
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        self.received.append(email.message_from_bytes(envelope.content))
        return "250 OK"


@pytest.fixture
def mails() -> Iterator[tuple[str, list[Message]]]:
    taker = _Mails()
    [port] = free_ports(1)
    server = Controller(taker, hostname="127.0.0.1", port=port)
    server.start()
    try:
        query = "from=ferryman@example.org&to=oncall@example.org&mode=insecure"
        yield f"apprise+mailto://127.0.0.1:{port}?{query}", taker.received
    finally:
        server.stop()


def _channel(name: str, url: str) -> Connection:
    return parse_connection(name, url)


def test_mail_and_json_take_one_message_each(mails: tuple[str, list[Message]]) -> None:
    address, received = mails
    with alert_channel() as (url, posted), alert_channel() as (plain, plainly):
        json_address = url.replace("http://", "apprise+json://") + "hook/t0ken"
        connections = GivenConnections(
            _channel("mail", address), _channel("chat", json_address), _channel("hook", plain)
        )
        assert send(MESSAGE, connections, channels=("mail", "chat", "hook"), patience=30)
    [mail] = received
    assert "flights: drift" in str(mail["subject"])
    body = "".join(
        part.get_payload(decode=True).decode()  # type: ignore[union-attr]
        for part in mail.walk()
        if part.get_content_type().startswith("text/")
    )
    assert "flights.monitoring" in body
    assert "{{ 7 * 7 }}" in body
    assert {part.get_content_type() for part in mail.walk()} == {"text/plain"}
    [chat] = posted
    assert chat["title"] == "flights: drift"
    assert "wind_speed moved <b>0.4</b> sd" in chat["message"]
    assert plainly == [MESSAGE]


def test_an_address_of_apprise_is_a_secret_as_a_whole() -> None:
    found = _channel("chat", "apprise+slack://T0ken/Secr3t/Wh0le")
    assert (found.url, found.scheme) == ("apprise://", "apprise")
    assert "Secr3t" not in repr(found)
    assert found.password == "slack://T0ken/Secr3t/Wh0le"


def test_severity_and_event_choose_the_channel(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, zoo=tmp_path)
    notify = NotifySpec(
        channels=(
            ChannelSpec(connection="pager", events=("alert",), severity="critical"),
            ChannelSpec(connection="chat", events=("alert", "success")),
        )
    )
    with alert_channel() as (pager, paged), alert_channel() as (chat, chatted):
        given = GivenConnections(Connection("pager", pager), Connection("chat", chat))
        for severity in ("warning", "critical"):
            facts = {"severity": severity}
            assert alert(settings, "a", "b", facts, given, notify=notify, severity=severity)  # type: ignore[arg-type]
    assert [one["severity"] for one in paged] == ["critical"]
    assert [one["severity"] for one in chatted] == ["warning", "critical"]
    assert notify.channels_for("success") == ("chat",)


def test_dead_slow_and_lying_channels_cost_no_more_than_their_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with alert_channel() as (good, received), socket.socket() as hole, _Liar() as liar:
        hole.bind(("127.0.0.1", 0))
        hole.listen(1)  # takes connections, and never says a word
        names = {
            "good": good,
            "hole": f"apprise+json://127.0.0.1:{hole.getsockname()[1]}/s3cret",
            "dead": "apprise+json://127.0.0.1:9/s3cret",
            "liar": liar.replace("http://", "apprise+json://") + "s3cret",
            "unknown": "apprise+nosuch://s3cret",
        }
        connections = GivenConnections(*(_channel(name, url) for name, url in names.items()))
        began = time.monotonic()
        assert send(MESSAGE, connections, channels=tuple(names), patience=3)
        assert time.monotonic() - began < 30  # the silent one would take for ever
        deaf = tuple(name for name in names if name != "good")
        assert not send(MESSAGE, connections, channels=deaf, patience=3)
    assert received == [MESSAGE]
    assert "connection 'hole' did not answer in time" in caplog.text
    assert "connection 'liar' did not take an alert" in caplog.text
    assert "connection 'unknown' holds no address that apprise knows" in caplog.text
    ours = [one.getMessage() for one in caplog.records if one.name.startswith(("ferryman", "appr"))]
    assert "s3cret" not in "".join(ours)


class _Liar:
    """Says 200 in its head's place and closes in the middle of what it announced."""

    def __enter__(self) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.wfile.write(b"HTTP/1.1 500 OK\r\ncontent-length: 99\r\n\r\ns3cret")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def test_who_sends_nothing_by_apprise_does_not_load_it() -> None:
    code = (
        "import sys, json\n"
        "from ferryman.runtime.alerts import send\n"
        "from ferryman.runtime.connections import Connection, GivenConnections\n"
        "send({}, GivenConnections(Connection('alerts', 'http://127.0.0.1:9/')))\n"
        "print(json.dumps('apprise' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(done.stdout) is False
