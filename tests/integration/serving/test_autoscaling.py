"""Replicas follow a load up and down: a real server, a real Prometheus, real requests."""

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from services.prometheus import MISSING, Prometheus, is_installed
from services.request_load import RequestLoad, post

from ferryman.deployment.autoscaling.autoscaler import autoscaler_of, files_of
from ferryman.deployment.autoscaling.decision import Decision
from ferryman.deployment.autoscaling.figures import PrometheusFigures
from ferryman.deployment.autoscaling.scrape import ScrapedFigures
from ferryman.deployment.deployers import deployer_of
from ferryman.errors import DependencyUnavailable
from ferryman.runtime.endpoints import main_endpoint
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings

pytestmark = pytest.mark.skipif(not is_installed(), reason=MISSING)
logger = logging.getLogger(__name__)
PATH = "/v1/models/tiny:predict"
DECLARED = """
spec_version: 1
servers:
  main:
    autoscaling:
      min: 1
      max: {most}
      scale_down_after: 8s
      rules: [{rule}]
"""


class World:
    """A server with a model, a Prometheus that scrapes it, and its autoscaler's log."""

    def __init__(self, settings: Settings, bundle: Any) -> None:
        self.settings, self.bundle = settings, bundle
        self.deployer = deployer_of(settings)

    @property
    def wanted(self) -> int:
        return self.deployer.status().wanted

    @property
    def decisions(self) -> list[Decision]:
        return files_of(self.settings, "main").decisions(10_000)

    def declare(self, rule: str, most: int) -> None:
        text = DECLARED.format(rule=rule, most=most)
        (self.settings.zoo / "servers.yaml").write_text(text)

    @property
    def p95_ms(self) -> float:
        """The latency that the last decision saw; infinite where it saw none."""
        figures = self.decisions[-1].figures
        return math.inf if figures is None or figures.p95_ms is None else figures.p95_ms

    @property
    def ready(self) -> int:
        """The ready replicas that the last decision saw."""
        figures = self.decisions[-1].figures
        return 0 if figures is None else figures.ready

    @property
    def said(self) -> str:
        return (main_endpoint(self.settings).root / "server.log").read_text()

    @contextmanager
    def load(self, rows: int) -> Iterator[RequestLoad]:
        """A load of requests of so many rows."""
        repeated = (self.bundle.rows * (rows // len(self.bundle.rows) + 1))[:rows]
        request = post(PATH, json.dumps({"instances": repeated}).encode())
        with RequestLoad("127.0.0.1", self.settings.serving_port, request) as load:
            yield load

    @contextmanager
    def autoscaled(self) -> Iterator[None]:
        """A decision a second while the block lasts; they are logged at its end."""
        ended = threading.Event()
        autoscaler = autoscaler_of(self.settings, "main")
        loop = threading.Thread(target=lambda: autoscaler.run(every=1, ended=ended), daemon=True)
        loop.start()
        try:
            yield
        finally:
            ended.set()
            loop.join()
            for one in self.decisions:
                seen = one.figures.replicas if one.figures is not None else {}
                shares = {name: round(replica.requests or 0) for name, replica in seen.items()}
                change = f"{one.current} -> {one.wanted} [{one.rule}]"
                logger.info("%s %s; requests/s: %s", change, one.reason, shares)


@pytest.fixture(scope="module")
def running(tmp_path_factory, free_ports, make_bundle) -> Iterator[World]:
    """The server and its Prometheus, of all tests here."""
    folder: Path = tmp_path_factory.mktemp("autoscaling")
    port, admin_port = free_ports(2)
    (folder / "zoo").mkdir()
    with Prometheus(folder / "prometheus", {"main": f"127.0.0.1:{port}"}) as prometheus:
        settings = Settings(
            home=folder / "home",
            zoo=folder / "zoo",
            serving_port=port,
            serving_admin_port=admin_port,
            prometheus_url=prometheus.url,
            prometheus_window=5,
        )
        bundle = make_bundle(settings.bundles_root)
        world = World(settings, bundle)
        world.declare("{kind: cpu}", 3)
        world.deployer.start()
        try:
            with ServingClient(main_endpoint(settings)) as client:
                where = {"bundle": str(bundle.folder), "digest": bundle.digest}
                client.load("tiny", version=1, epoch=1, **where)
            yield world
        finally:
            world.deployer.stop()


@pytest.fixture
def world(running: World) -> World:
    """One replica, and an autoscaler that remembers nothing."""
    running.deployer.scale(1)
    for file in running.settings.server_root("main").glob("autoscaling.json*"):
        file.unlink()
    return running


def wait_until(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.2)


def turns(decisions: list[Decision]) -> int:
    """How often the number of replicas changed its direction."""
    ways = [one.change for one in decisions if one.change != "hold"]
    return sum(one != other for one, other in pairwise(ways))


def test_replicas_follow_requests_up_and_down(world: World) -> None:
    world.declare("{kind: requests, per_replica: 20}", 3)
    with world.load(1) as load, world.autoscaled():
        load.become(connections=6, rate=10)
        wait_until(lambda: len(world.decisions) > 8, 60)
        assert world.wanted == 1
        load.become(connections=6, rate=50)
        wait_until(lambda: world.wanted == 3, 60)
        wait_until(lambda: world.ready == 3, 60)
        load.become(connections=6, rate=10)
        wait_until(lambda: world.wanted == 1, 120)
        time.sleep(3)
    assert load.failures == [], world.said
    assert load.answered > 500
    assert turns(world.decisions) == 1
    busy = [one for one in world.decisions if one.change == "up"]
    assert {one.rule for one in busy} == {"requests"}
    assert all(one.figures is not None and one.figures.replicas for one in busy)
    assert world.decisions[-1].current == 1


def test_replicas_follow_the_latency_up_and_down(world: World) -> None:
    source = ScrapedFigures(world.settings.serving_url, cores=1)
    with world.load(2500) as load:
        load.become(connections=4)
        usual = source.read().p95_ms
        assert usual is not None
        # Twenty in one queue wait five times as long as four. Whether two replicas halve that, is a
        # matter of free cores: what is awaited is that it is measured on two, and decided once.
        target = 2.3 * usual
        world.declare(f"{{kind: latency, p95_ms: {target:.1f}, release: 0.3}}", 2)
        with world.autoscaled():
            load.become(connections=20)
            wait_until(lambda: world.wanted == 2, 60)
            wait_until(lambda: world.ready == 2 and world.p95_ms < math.inf, 60)
            load.become(connections=1)
            wait_until(lambda: world.wanted == 1, 90)
            time.sleep(3)
    assert load.failures == [], world.said
    assert load.answered > 100
    assert turns(world.decisions) == 1


def test_without_its_prometheus_it_holds_and_goes_on_when_it_is_back(world: World) -> None:
    world.declare("{kind: requests, per_replica: 20}", 2)
    away = world.settings.model_copy(update={"prometheus_url": "http://127.0.0.1:9"})
    with world.load(1) as load:
        load.become(connections=4, rate=60)
        decision = autoscaler_of(away, "main").decide()
        assert (decision.change, decision.rule) == ("hold", "none")
        assert "not reachable at http://127.0.0.1:9" in decision.error
        autoscaler = autoscaler_of(world.settings, "main")
        wait_until(lambda: autoscaler.decide().change == "up", 60)
    assert world.wanted == 2


def test_prometheus_and_the_server_itself_tell_the_same(world: World) -> None:
    scraped = ScrapedFigures(world.settings.serving_url, cores=1)
    asked = PrometheusFigures(world.settings.prometheus_url, "main", cores=1, window=5)
    with pytest.raises(DependencyUnavailable, match="no replica of a server 'other'"):
        PrometheusFigures(world.settings.prometheus_url, "other", cores=1, window=5).read()
    with world.load(1) as load:
        load.become(connections=4, rate=80)
        time.sleep(7)
        one, other = scraped.read(), asked.read()
    assert one.replicas.keys() == other.replicas.keys() and one.ready == other.ready == 1
    assert one.load == pytest.approx(80, rel=0.3) and other.load == pytest.approx(80, rel=0.3)
    assert other.age < 3
