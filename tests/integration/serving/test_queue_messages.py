"""What messages of a queue are answered: good, wrong, the same again; and who must wait."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from queue_line import (
    ANSWERS,
    GROUP,
    REQUESTS,
    TOPICS,
    QueueLine,
    queue_line,
    wait_for,
    working,
)
from services.command import Command
from services.redis_server import MISSING, RedisServer, is_installed

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.errors import PolicyRefused, SpecError
from ferryman.runtime.connection_url import parse_connection
from ferryman.runtime.endpoints import main_endpoint
from ferryman.serving.client import ServingClient
from ferryman.serving.queueing.queue_metrics import QueueMetrics
from ferryman.serving.queueing.streams import QueueStreams
from ferryman.settings import Settings

pytestmark = pytest.mark.skipif(not is_installed(), reason=MISSING)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory, free_ports) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), free_ports(1)[0]) as server:
        yield server


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, make_bundle) -> Any:
    return make_bundle(tmp_path_factory.mktemp("home") / "bundles")


@pytest.fixture(scope="module")
def url(bundle: Any, free_ports) -> Iterator[str]:
    port, admin_port = free_ports(2)
    home = bundle.folder.parents[2]
    settings = Settings(home=home, serving_port=port, serving_admin_port=admin_port)
    deployer = ProcessDeployer(settings)
    deployer.start()
    try:
        with ServingClient(main_endpoint(settings)) as client:
            where = {"bundle": str(bundle.folder), "digest": bundle.digest}
            client.load("tiny", version=3, epoch=7, **where)
        yield main_endpoint(settings).url
    finally:
        deployer.stop()


@pytest.fixture
def line(redis: RedisServer, tmp_path: Path) -> Iterator[QueueLine]:
    with queue_line(redis, "", tmp_path / "home") as opened:
        opened.client.flushall()
        yield opened


def wrong_rows(bundle: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """Rows by the name of the mistake, with what the error must say."""
    good = bundle.rows[0]
    return {
        "not-json": ("[{", {"status": 400, "row": None}),
        "no-list": (json.dumps(good), {"status": 400}),
        "no-rows": ("[]", {"status": 400}),
        "text": (json.dumps([good, {**good, "hour": "x"}]), {"row": 1, "field": "hour"}),
        "unknown": (json.dumps([{**good, "nonsense": 1}]), {"row": 0, "field": "nonsense"}),
        "missing": (json.dumps([{"hour": 1}]), {"row": 0, "status": 400}),
        "nan": (
            '[{"carrier": "UA", "distance": NaN, "hour": 1}]',
            {"status": 400, "row": 0, "field": "distance"},
        ),
    }


def test_wrong_rows_are_answered_and_good_ones_beside_them_scored(
    line: QueueLine, url: str, bundle: Any
) -> None:
    wrong = wrong_rows(bundle)
    for place, (name, (rows, _)) in enumerate(wrong.items()):
        line.send(f"good-{place}", bundle.rows[place : place + 2])
        line.client.xadd(REQUESTS, {"id": name, "rows": rows})
    with working(line, url):
        for place, (name, (_, expected)) in enumerate(wrong.items()):
            good = line.answer(f"good-{place}")
            assert good["predictions"] == pytest.approx(bundle.outputs[place : place + 2], abs=1e-5)
            assert (good["version"], good["epoch"]) == ("3", "7")
            answer = line.answer(name)
            assert set(answer) == {"id", "error"}
            assert set(answer["error"]) == {"status", "text", "row", "field"}
            assert expected.items() <= answer["error"].items(), name
            assert answer["error"]["text"]
    assert line.pending() == 0
    assert line.client.xlen(REQUESTS) == 0


def test_a_whole_request_of_the_protocol_is_answered(
    line: QueueLine, url: str, bundle: Any
) -> None:
    columns = {name: [row[name] for row in bundle.rows[:3]] for name in bundle.rows[0]}
    bodies = {
        "columns": json.dumps({"inputs": columns}),
        "rows": json.dumps({"instances": bundle.rows[:3]}),
        "wrong": json.dumps({"instances": [{}]}),
        "empty": "",
    }
    for name, body in bodies.items():
        line.client.xadd(REQUESTS, {"id": name, "body": body})
    with working(line, url):
        for name in ("columns", "rows"):
            answer = line.answer(name)
            assert answer["predictions"] == pytest.approx(bundle.outputs[:3], abs=1e-5)
        assert line.answer("wrong")["error"]["status"] == 400
        assert line.answer("empty")["error"]["status"] == 400


def test_messages_without_an_id_are_dead_letters(line: QueueLine, url: str, bundle: Any) -> None:
    letters: list[dict[Any, Any]] = [
        {"rows": "[1]"},
        {"id": "", "rows": "[1]"},
        {"id": "x" * 201, "rows": "[1]"},
        {"id": b"\xff\xfe", b"\xff": b"\x00"},
        {"id": "line\nbreak"},
    ]
    for letter in letters:
        line.client.xadd(REQUESTS, letter)
    line.send("good", bundle.rows[:1])
    with working(line, url):
        assert "predictions" in line.answer("good")
    import redis

    with redis.Redis.from_url(line.redis.url) as client:
        dead = [fields for _, fields in client.xrange(f"{REQUESTS}.dead")]
    assert len(dead) == len(letters)
    assert all(b"id" in fields[b"reason"] and fields[b"entry"] for fields in dead)
    assert dead[0][b"field.rows"] == b"[1]"
    assert dead[3][b"field.\\xff"] == b"\x00"
    assert line.pending() == 0


def test_an_id_that_is_sent_again_is_answered_once(line: QueueLine, url: str, bundle: Any) -> None:
    for _ in range(3):
        line.send("same", bundle.rows[:1])
    with working(line, url, replace(TOPICS, window=1)):
        line.send("same", bundle.rows[:1])
        line.send("last", bundle.rows[:1])
        line.answer("last")
        assert [answer["id"] for answer in line.answers()] == ["same", "last"]
        mark = TOPICS.mark("same")
        assert 0 < line.client.pttl(mark) <= 1000
        wait_for(lambda: not line.client.exists(mark))
        line.send("same", bundle.rows[:1])  # out of the window: asked anew
        wait_for(lambda: line.client.xlen(ANSWERS) == 3)


def test_what_a_vanished_worker_took_is_claimed(line: QueueLine, url: str, bundle: Any) -> None:
    gone = QueueStreams(line.redis.connection, TOPICS, "gone")
    gone.prepare()
    line.send_all({str(n): bundle.rows[0] for n in range(50)})
    assert len(gone.take(50, 10)) == 50
    with working(line, url):
        wait_for(lambda: line.client.xlen(ANSWERS) == 50)
    assert len({answer["id"] for answer in line.answers()}) == 50
    gone.close()


def test_settling_twice_or_late_changes_nothing(line: QueueLine) -> None:
    from ferryman.serving.queueing.messages import refuse

    slow = QueueStreams(line.redis.connection, TOPICS, "slow")
    fast = QueueStreams(line.redis.connection, replace(TOPICS, claim_after=0), "fast")
    slow.prepare()
    slow.prepare()
    line.send("one", [1])
    ((entry, _),) = slow.take(10, 10)
    assert [place for place, _ in fast.claim(10)] == [entry]
    assert fast.settle([refuse(entry.decode(), "one", 400, "by fast")]) == ["answered"]
    late = refuse(entry.decode(), "one", 400, "by slow")
    assert slow.settle([late]) == ["other"]
    assert fast.settle([late]) == ["other"]
    assert "by fast" in line.answers()[0]["error"]
    assert len(line.answers()) == 1
    slow.leave()
    fast.leave()
    assert line.client.xinfo_consumers(REQUESTS, GROUP) == []
    slow.close()
    fast.close()


def test_a_redis_without_memory_makes_messages_wait(line: QueueLine, url: str, bundle: Any) -> None:
    line.client.xgroup_create(REQUESTS, GROUP, id="0", mkstream=True)
    line.send_all({str(n): bundle.rows[0] for n in range(100)})
    line.client.config_set("maxmemory", "1")
    try:
        with working(line, url):
            wait_for(lambda: line.pending() > 0)
            assert line.client.xlen(ANSWERS) == 0
            line.client.config_set("maxmemory", "0")
            wait_for(lambda: line.client.xlen(ANSWERS) == 100)
    finally:
        line.client.config_set("maxmemory", "0")
    assert len({answer["id"] for answer in line.answers()}) == 100
    assert line.pending() == 0


def test_a_worker_waits_for_readers_that_are_behind(line: QueueLine, url: str, bundle: Any) -> None:
    line.client.xgroup_create(ANSWERS, "readers", id="0", mkstream=True)
    line.send_all({str(n): bundle.rows[0] for n in range(2000)})
    read: list[str] = []
    with working(line, url):
        wait_for(lambda: line.client.xlen(ANSWERS) > TOPICS.longest // 2)
        while len(read) < 2000:
            assert line.client.xlen(ANSWERS) <= TOPICS.longest + 200
            found = line.client.xreadgroup(
                "readers", "one", {ANSWERS: ">"}, count=100, block=20_000
            )
            entries = found[0][1]
            read += [fields["id"] for _, fields in entries]
            line.client.xack(ANSWERS, "readers", *(entry for entry, _ in entries))
    assert sorted(read, key=int) == [str(n) for n in range(2000)]


def test_a_redis_that_forgot_everything_is_used_again(
    line: QueueLine, url: str, bundle: Any
) -> None:
    with working(line, url):
        line.send("first", bundle.rows[:1])
        line.answer("first")
        line.client.flushall()
        line.send("second", bundle.rows[:1])
        assert "predictions" in line.answer("second")


def test_a_wrong_login_or_address_ends_a_worker_without_its_secret(redis: RedisServer) -> None:
    wrong = parse_connection("queue", redis.url.replace("test-secret", "other-secret"))
    streams = QueueStreams(wrong, TOPICS, "worker")
    with pytest.raises(PolicyRefused, match="queue 'queue' at redis://127") as refused:
        streams.prepare()
    assert "other-secret" not in str(refused.value)
    streams.close()
    with pytest.raises(SpecError, match="a queue is redis:// or rediss://, not http://"):
        QueueStreams(parse_connection("queue", "http://localhost"), TOPICS, "worker")
    client = redis.client()
    client.set("word", "no stream")
    taken = QueueStreams(redis.connection, replace(TOPICS, requests="word"), "worker")
    with pytest.raises(SpecError, match="WRONGTYPE"):
        taken.prepare()
    taken.close()
    client.close()


def test_the_command_refuses_what_is_not_declared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis: RedisServer
) -> None:
    ferryman = Command(capsys, monkeypatch)
    monkeypatch.setenv("FERRYMAN_CONNECTION_QUEUE", redis.url)
    ask = ("serve-queue", "--requests", "a", "--answers", "b", "--model")
    assert "flihgts" in ferryman(*ask, "flihgts", code=2)
    assert "server" in ferryman(*ask, "flights", "--server", "nowhere", code=2)
    assert "different names" in ferryman(*ask, "flights", "--answers", "a.dead", code=2)
    assert "no connection 'other'" in ferryman(*ask, "flights", "--connection", "other", code=2)


def test_a_page_tells_what_was_settled(free_ports: Callable[[int], list[int]]) -> None:
    (port,) = free_ports(1)
    metrics = QueueMetrics("tiny")
    server = metrics.serve("127.0.0.1", port)
    try:
        metrics.settled("again")
        metrics.waiting(12)
        page = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    finally:
        server.shutdown()
        server.server_close()
    assert 'ferryman_queue_messages_total{model="tiny",outcome="again"} 1.0' in page
    assert 'ferryman_queue_messages_total{model="tiny",outcome="dead"} 0.0' in page
    assert 'ferryman_queue_waiting{model="tiny"} 12.0' in page
