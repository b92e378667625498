"""Requests from a stream, answered each once, while workers and Redis are killed."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from queue_line import ANSWERS, GROUP, REQUESTS, QueueLine, queue_line, wait_for
from services.long_tests import seeds
from services.redis_server import MISSING, RedisServer, is_installed

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.runtime.endpoints import main_endpoint
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings

pytestmark = pytest.mark.skipif(not is_installed(), reason=MISSING)
MESSAGES = 2_000
FAST = ("--claim-after", "0.5", "--batch", "4")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, free_ports) -> Settings:
    port, admin_port = free_ports(2)
    home = tmp_path_factory.mktemp("home")
    return Settings(home=home, serving_port=port, serving_admin_port=admin_port)


@pytest.fixture(scope="module")
def bundle(settings: Settings, make_bundle) -> Any:
    return make_bundle(settings.bundles_root)


@pytest.fixture(scope="module")
def server(settings: Settings, bundle: Any) -> Iterator[ServingClient]:
    deployer = ProcessDeployer(settings)
    deployer.start()
    try:
        with ServingClient(main_endpoint(settings)) as client:
            load(client, bundle, 1)
            yield client
    finally:
        deployer.stop()


@pytest.fixture
def line(settings: Settings, tmp_path: Path, free_ports) -> Iterator[QueueLine]:
    url = main_endpoint(settings).url
    with (
        RedisServer(tmp_path / "redis", free_ports(1)[0]) as redis,
        queue_line(redis, url, tmp_path / "home") as opened,
    ):
        yield opened


def load(client: ServingClient, bundle: Any, epoch: int) -> None:
    where = {"bundle": str(bundle.folder), "digest": bundle.digest}
    client.load("tiny", version=epoch, epoch=epoch, **where)


def many(bundle: Any) -> dict[str, Any]:
    return {f"order-{n}": bundle.rows[n % len(bundle.rows)] for n in range(MESSAGES)}


def check_all_answered(line: QueueLine, bundle: Any) -> None:
    """Every id once, with the right answer; and nothing is left behind."""
    wait_for(lambda: line.client.xlen(ANSWERS) >= MESSAGES and line.client.xlen(REQUESTS) == 0)
    answers = line.answers()
    assert len(answers) == MESSAGES
    by_id = {answer["id"]: answer for answer in answers}
    assert set(by_id) == set(many(bundle))
    for number in range(MESSAGES):
        (got,) = json.loads(by_id[f"order-{number}"]["predictions"])
        assert got == pytest.approx(bundle.outputs[number % len(bundle.outputs)], abs=1e-5)
    assert line.pending() == 0


@pytest.mark.parametrize("seed", seeds(1, 2, 3))
def test_killed_workers_lose_and_repeat_nothing(
    line: QueueLine, server: ServingClient, bundle: Any, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    workers = [line.start_worker(*FAST), line.start_worker(*FAST)]
    line.wait_for_workers(2)
    line.send_all(many(bundle))
    for reached in sorted(draw.integers(100, MESSAGES - 100, size=3).tolist()):
        wait_for(lambda least=reached: line.client.xlen(ANSWERS) >= least)
        victim = workers.pop(int(draw.integers(2)))
        victim.kill()
        workers.append(line.start_worker(*FAST))
    check_all_answered(line, bundle)


def test_redis_is_killed_and_comes_back_with_its_file(
    line: QueueLine, server: ServingClient, bundle: Any
) -> None:
    for _ in range(2):
        line.start_worker(*FAST)
    line.wait_for_workers(2)
    line.send_all(many(bundle))
    wait_for(lambda: line.client.xlen(ANSWERS) >= MESSAGES // 4)
    line.redis.kill()
    line.redis.start()
    wait_for(lambda: line.client.xlen(ANSWERS) >= MESSAGES // 2)
    line.redis.kill()
    line.redis.start()
    check_all_answered(line, bundle)
    assert "queue 'queue' at redis://127.0.0.1" in line.log()
    assert "test-secret" not in line.log()


def test_workers_share_the_load_and_follow_a_release(
    line: QueueLine, server: ServingClient, bundle: Any, settings: Settings, make_bundle
) -> None:
    for _ in range(2):
        line.start_worker("--batch", "2", "--keep-requests")
    line.wait_for_workers(2)
    served = server.status("tiny")
    assert served is not None
    epoch = int(served["epoch"])
    line.send("before", bundle.rows[:2])
    answer = line.answer("before")
    assert answer["predictions"] == pytest.approx(bundle.outputs[:2], abs=1e-5)
    assert (answer["version"], answer["epoch"]) == (str(epoch), str(epoch))
    assert answer["request_id"]
    other = make_bundle(settings.bundles_root, 10.0)
    load(server, other, epoch + 1)
    line.send("after", bundle.rows[:2])
    answer = line.answer("after")
    assert answer["predictions"] == pytest.approx(other.outputs[:2], abs=1e-5)
    assert answer["epoch"] == str(epoch + 1)
    load(server, bundle, epoch + 2)
    assert line.client.xlen(REQUESTS) == 2  # kept
    line.send_all({f"shared-{n}": bundle.rows[0] for n in range(300)})
    seen: set[str] = set()

    def is_done() -> bool:
        pending = line.client.xpending_range(REQUESTS, GROUP, "-", "+", 10)
        seen.update(str(entry["consumer"]) for entry in pending)
        return int(line.client.xlen(ANSWERS)) == 302

    wait_for(is_done)
    assert len(seen) == 2


def test_a_worker_that_is_told_to_end_leaves_nothing_half_done(
    line: QueueLine, server: ServingClient, bundle: Any
) -> None:
    worker = line.start_worker("--batch", "4")
    line.wait_for_workers(1)
    line.send_all(many(bundle))
    wait_for(lambda: line.client.xlen(ANSWERS) >= 100)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=30) == 0
    assert line.pending() == 0
    assert line.client.xinfo_consumers(REQUESTS, GROUP) == []
    assert line.client.xlen(ANSWERS) + line.client.xlen(REQUESTS) == MESSAGES
    line.start_worker()
    check_all_answered(line, bundle)


def test_messages_wait_while_the_server_is_away(
    line: QueueLine, tmp_path: Path, free_ports, bundle: Any, make_bundle
) -> None:
    """Away, then there without the model, then with it."""
    port, admin_port = free_ports(2)
    settings = Settings(home=tmp_path / "own", serving_port=port, serving_admin_port=admin_port)
    own = make_bundle(settings.bundles_root)
    endpoint = main_endpoint(settings)
    line.start_worker("--url", endpoint.url)
    line.wait_for_workers(1)
    line.send_all(many(bundle))
    wait_for(lambda: line.log().count("server not reachable") >= 2)
    deployer = ProcessDeployer(settings)
    deployer.start()
    try:
        wait_for(lambda: "answers 404" in line.log())
        assert line.client.xlen(ANSWERS) == 0
        with ServingClient(endpoint) as client:
            load(client, own, 1)
        check_all_answered(line, bundle)
    finally:
        deployer.stop()
