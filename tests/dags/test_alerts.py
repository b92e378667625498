"""A failed task tells a real server of itself; a dead one delays nobody."""

import json
import logging
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from ferryman.errors import DataRejected
from ferryman.runtime.connections import Connection, GivenConnections

pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")


class _Channel(ThreadingHTTPServer):
    """Keeps what is posted; answers with `status`, a byte at a time where it is slow."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received = []
        self.status = 200
        self.slow = threading.Event()
        self.closing = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/hook/t0ken"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.received.append((self.path, headers, json.loads(body)))
        if self.server.slow.is_set():
            self.wfile.write(b"HTTP/1.1 ")
            while not self.server.closing.wait(0.1):
                self.wfile.write(b" ")
            return
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_):
        """The test looks at what came, not at a log."""


@pytest.fixture
def channel():
    with _Channel() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


def _context(error):
    instance = SimpleNamespace(
        dag_id="flights.ingest",
        task_id="validate",
        run_id="manual__1",
        log_url="http://127.0.0.1:8080/dags/flights.ingest/runs/manual__1/tasks/validate",
    )
    return {"ti": instance, "exception": error}


def _alerts(url, **secrets):
    return GivenConnections(Connection("alerts", url, **secrets))


def test_a_failed_run_tells_the_channel_why_and_what_to_do(
    channel, settings_from, tmp_path, capfd, caplog
):
    from airflow.utils.db import initdb
    from test_lineage_events import flights_ingest

    initdb()
    settings_from(home=tmp_path, connection_alerts=channel.url)
    run = flights_ingest().test(run_conf={"window_strat": "2013-02-01"})
    assert str(run.state) == "failed"
    [(path, _, told)] = channel.received
    assert path == "/hook/t0ken"
    assert told["model"] == "flights"
    assert (told["dag"], told["task"]) == ("flights.ingest", "ingest")
    assert told["run_id"] == run.run_id
    assert told["exit_code"] == 2
    assert "did you mean 'window_start'?" in told["text"]
    assert told["remedy"].startswith("Params of this DAG")
    assert "/dags/flights.ingest/runs/" in told["link"]
    # Airflow's logging goes to the one or the other, as the first run in a process has left it.
    logged = caplog.text + "".join(capfd.readouterr())
    assert "ALERT flights.ingest.ingest" in logged
    assert "t0ken" not in logged


def test_texts_are_bounded_and_a_bugs_words_stay_at_home():
    from ferryman_airflow.alerts import describe

    told = describe(_context(DataRejected("x" * 1_000_000, remedy="y" * 10_000)))
    assert told["exit_code"] == 3
    assert len(json.dumps(told)) < 5_000
    bug = describe(_context(RuntimeError("password=hunter2")))
    assert bug["exit_code"] == 1
    assert "RuntimeError" in bug["text"]
    assert "hunter2" not in json.dumps(bug)
    killed = describe(_context(None))
    assert killed["exit_code"] is None
    assert "without an error of its own" in killed["text"]


def test_a_limit_of_time_is_told_by_name():
    from airflow.sdk.exceptions import AirflowTaskTimeout

    from ferryman_airflow.alerts import describe

    told = describe(_context(AirflowTaskTimeout("train was ended at its limit of 4:00:00")))
    assert told["text"] == "train was ended at its limit of 4:00:00"
    assert told["remedy"].startswith("Read in the task's log where its time went")


def test_login_and_token_are_sent_and_never_logged(channel, caplog):
    from ferryman_airflow.alerts import describe, send

    caplog.set_level(logging.DEBUG)
    message = describe(_context(DataRejected("bad")))
    send(message, _alerts(channel.url, password="s3cret-token"))
    send(message, _alerts(channel.url, login="ann", password="s3cret-pass"))
    (path, bearer, _), (_, basic, _) = channel.received
    assert path == "/hook/t0ken"
    assert bearer["authorization"] == "Bearer s3cret-token"
    assert basic["authorization"].startswith("Basic ")
    assert "s3cret" not in caplog.text
    assert "t0ken" not in "".join(one.getMessage() for one in caplog.records if _ours(one))


def _ours(record):
    return record.name.startswith(("ferryman", "httpx"))


def test_a_channel_that_is_dead_slow_or_unfit_costs_no_more_than_its_time(channel, caplog):
    from ferryman_airflow.alerts import describe, send

    caplog.set_level(logging.INFO)
    message = describe(_context(DataRejected("bad")))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        send(message, _alerts(f"http://127.0.0.1:{taken.getsockname()[1]}/"), patience=2)
    assert "no alert was sent to 'alerts': ConnectError" in caplog.text
    channel.slow.set()
    start = time.monotonic()
    send(message, _alerts(channel.url), patience=0.5)
    assert time.monotonic() - start < 2
    assert "did not answer in time" in caplog.text
    channel.slow.clear()
    channel.status = 500
    send(message, _alerts(channel.url), patience=2)
    assert "answered an alert with 500" in caplog.text
    send(message, _alerts("s3://bucket/prefix"), patience=2)
    assert "connection 'alerts' is s3://, no API" in caplog.text
    send(message, GivenConnections(), patience=2)
    assert "no alert was sent: no connection 'alerts' is defined" in caplog.text
