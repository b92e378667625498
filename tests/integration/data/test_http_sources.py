"""HTTP sources against a real server that pages, fails, limits, hangs and lies."""

import datetime as dt
import gzip
import json
import logging
import time
import traceback

import pytest
from places_api import DAY, Open
from services.json_api import TOKEN, Fault, JsonApi, Request, status

from ferryman.errors import (
    DataRejected,
    DependencyUnavailable,
    FerrymanError,
    PolicyRefused,
    SpecError,
)
from ferryman.runtime.connections import Connection


def test_a_span_is_asked_for_and_read_page_by_page(api: JsonApi, open_source: Open) -> None:
    read = open_source().read(DAY, DAY)
    assert read.table.column("n").to_pylist() == list(range(24, 48))
    assert read.table.column("heat").null_count == 1
    assert "" in read.table.column("place").to_pylist()  # an empty text is no null
    [part] = read.parts
    assert (part.name, part.rows) == (f"/places {DAY}", 24)
    assert read.query == "GET /places?since={start}&until={end}"
    edges = "since=2013-01-02T00%3A00%3A00Z&until=2013-01-03T00%3A00%3A00Z"
    asked = [f"/v1/places?{edges}", *(f"/v1/places?{edges}&cursor={n}" for n in (10, 20))]
    assert api.asked == asked


def test_the_size_of_pages_does_not_change_what_is_read(api: JsonApi, open_source: Open) -> None:
    first = open_source().read(DAY, DAY)
    api.page_size = 7
    again = open_source().read(DAY, DAY)
    assert again.table.equals(first.table)
    assert again.parts == first.parts


def test_records_of_other_days_are_left_out(open_source: Open) -> None:
    read = open_source(query={}).read(DAY, DAY)
    assert (read.table.num_rows, read.parts[0].rows) == (24, 72)


def test_a_quiet_day_is_empty_and_an_empty_api_is_refused(api: JsonApi, open_source: Open) -> None:
    quiet = DAY.shifted(dt.timedelta(days=99))
    assert open_source().read(quiet, quiet).table.num_rows == 0
    api.records = []
    with pytest.raises(DataRejected, match="gave no records at all"):
        open_source(query={}).read(DAY, DAY)


def test_a_lookup_is_asked_for_once(api: JsonApi, open_source: Open) -> None:
    source = open_source(query={}, event_time=None)
    assert source.read(None) is source.read(None)
    assert len(api.asked) == 8


def cut(request: Request) -> None:
    """A body shorter than its length."""
    request.send(b'{"data"', content_length="5000")


def cut_without_a_length(request: Request) -> None:
    request.send(b'{"data": {"items": [', content_length="")


def cut_gzip(request: Request) -> None:
    packed = gzip.compress(json.dumps(request.answer()).encode())[:-9]
    request.send(packed, content_encoding="gzip")


def slam(request: Request) -> None:
    """No answer at all."""
    request.handler.close_connection = True


@pytest.mark.parametrize(
    "fault", [status(503), status(500), status(429, retry_after="0"), cut, cut_gzip, slam]
)
def test_what_passes_is_asked_for_again(api: JsonApi, open_source: Open, fault: Fault) -> None:
    api.faults += [fault, fault, fault]
    assert open_source().read(DAY, DAY).table.num_rows == 24
    assert len(api.asked) == 3 + 3


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (status(503), "page 1: answered 503 Service Unavailable (4 attempts)"),
        (cut, "peer closed connection without sending complete message body"),
        (cut_without_a_length, "page 1: not JSON, perhaps cut short: "),
        (cut_gzip, "page 1: the gzip ends before its end (4 attempts)"),
        (slam, "page 1: Server disconnected without sending a response. (4 attempts)"),
    ],
)
def test_attempts_end(api: JsonApi, open_source: Open, fault: Fault, text: str) -> None:
    api.always = fault
    with pytest.raises(DependencyUnavailable) as caught:
        open_source().read(DAY, DAY)
    assert text in caught.value.text
    assert len(api.asked) == 4


def test_the_server_says_how_long_to_wait(api: JsonApi, open_source: Open) -> None:
    api.faults.append(status(429, retry_after="1"))
    start = time.monotonic()
    open_source().read(DAY, DAY)
    assert time.monotonic() - start >= 1


@pytest.mark.parametrize("wait", ["7200", "Fri, 01 Jan 2100 00:00:00 GMT"])
def test_a_wait_beyond_patience_is_not_begun(api: JsonApi, open_source: Open, wait: str) -> None:
    api.always = status(429, retry_after=wait)
    with pytest.raises(DependencyUnavailable, match=r"answered 429 Too Many Requests; it asks for"):
        open_source(patience="1m").read(DAY, DAY)
    assert len(api.asked) == 1


def hang(request: Request) -> None:
    request.api.go_on.wait()


def drip(request: Request) -> None:
    """A header byte now and then: each wait is short, and there is no end."""
    request.handler.wfile.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
    while not request.api.go_on.wait(0.05):
        request.handler.wfile.write(b"x")
        request.handler.wfile.flush()


@pytest.mark.parametrize("fault", [hang, drip])
def test_a_hang_ends_with_patience(api: JsonApi, open_source: Open, fault: Fault) -> None:
    api.always = fault
    start = time.monotonic()
    with pytest.raises(DependencyUnavailable, match="no whole answer within 1 s"):
        open_source(patience="1s").read(DAY, DAY)
    assert time.monotonic() - start < 5


def test_requests_keep_their_pace(api: JsonApi, open_source: Open) -> None:
    start = time.monotonic()
    open_source(per_second=20, query={}).read(DAY, DAY)
    assert len(api.asked) == 8
    assert time.monotonic() - start >= 7 / 20


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (401, DependencyUnavailable),
        (403, PolicyRefused),
        (404, SpecError),
        (400, SpecError),
        (418, SpecError),
    ],
)
def test_refusals_are_not_asked_for_again_and_show_no_secret(
    api: JsonApi,
    open_source: Open,
    caplog: pytest.LogCaptureFixture,
    number: int,
    kind: type[FerrymanError],
) -> None:
    caplog.set_level(logging.DEBUG)
    api.always = status(number)
    with pytest.raises(kind, match=f"page 1: answered {number}") as caught:
        open_source().read(DAY, DAY)
    assert len(api.asked) == 1
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert TOKEN not in told


def test_ways_to_log_in(api: JsonApi, open_source: Open) -> None:
    seen: list[str | None] = []

    def note(request: Request) -> None:
        headers = request.handler.headers
        seen.append(headers["authorization"] or headers["x-key"])
        request.send_json(request.answer())

    api.always = note
    base = api.connection().url
    for connection in (
        Connection("api", base, "anna", "pä:ss"),
        Connection("api", base, None, "tok"),
        Connection("api", base, None, "tok", {"token_header": "x-key"}),
        Connection("api", base),
    ):
        open_source(connection, paging=None, count=None).read(DAY, DAY)
    assert seen == ["Basic YW5uYTpww6Q6c3M=", "Bearer tok", "tok", None]


@pytest.mark.parametrize(
    ("connection", "text"),
    [
        (Connection("api", "sqlite:////x"), "is sqlite://, no API"),
        (Connection("api", "http://h", None, "s3cr3t\n"), "characters that no request can carry"),
        (Connection("api", "http://h", None, "s3cr3t", {"token_heder": "x"}),
         "option 'token_heder'; did you mean 'token_header'"),
        (Connection("api", "http://h", None, "s3cr3t", {"ca_file": "/no/such"}), "No such file"),
        (Connection("api", "http://h", None, "s3cr3t", {"proxy": "what"}), "Unknown scheme|proxy"),
    ],
)  # fmt: skip
def test_a_connection_that_leads_to_no_api(
    open_source: Open, connection: Connection, text: str
) -> None:
    with pytest.raises(SpecError, match=text) as caught:
        open_source(connection).read(DAY, DAY)
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


def test_an_api_that_is_away(open_source: Open) -> None:
    nobody = Connection("api", "http://127.0.0.1:1", None, "s3cr3t")
    with pytest.raises(DependencyUnavailable, match=r"Connection refused \(2 attempts\)"):
        open_source(nobody, attempts=2).read(DAY, DAY)
