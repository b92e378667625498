"""MLflow's server is away, dies, or loses its replies: releases wait, go on, and repeat nothing."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from release_world import Release, Users, candidate, copy_world
from rollback_world import World
from services.mlflow_server import MlflowServer

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.errors import DependencyUnavailable
from ferryman.ledger.records import State
from ferryman.registry.mlflow_connection import connect
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.registry.registry import DUPLICATE_TAG, TRAINING_RUN_TAG
from ferryman.settings import Settings

CREATE, ALIAS = "model-versions/create", "registered-models/alias"


class Between:
    """Stands between a client and MLflow: loses replies, or does something before a request.

    `lost` counts down, by the end of a path, how many replies are still to be lost; `before` is
    called once, before a request that writes to such a path is handed on.
    """

    def __init__(self, upstream: str) -> None:
        self.lost: dict[str, int] = {}
        self.before: dict[str, Callable[[], None]] = {}
        self.http = httpx.Client(base_url=upstream, timeout=60, trust_env=False)
        between = self

        class Handler(BaseHTTPRequestHandler):
            def _hand_on(self) -> None:
                between.hand_on(self)

            do_GET = do_POST = do_PATCH = do_DELETE = _hand_on  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                """Nothing on stderr."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def hand_on(self, asked: BaseHTTPRequestHandler) -> None:
        """One request; where its reply is lost, the connection ends without a word."""
        body = asked.rfile.read(int(asked.headers.get("content-length", 0)))
        writes = asked.command != "GET"
        for end in [end for end in self.before if writes and asked.path.endswith(end)]:
            self.before.pop(end)()
        headers = {"content-type": asked.headers.get("content-type", "application/json")}
        asked.close_connection = True
        try:
            reply = self.http.request(asked.command, asked.path, content=body, headers=headers)
        except httpx.TransportError:
            return
        for end, count in self.lost.items():
            if count and asked.path.endswith(end):
                self.lost[end] = count - 1
                return
        asked.send_response(reply.status_code)
        asked.send_header("content-type", reply.headers["content-type"])
        asked.send_header("content-length", str(len(reply.content)))
        asked.end_headers()
        asked.wfile.write(reply.content)


@pytest.fixture
def world(
    template: Settings,
    tmp_path: Path,
    free_ports: Callable[[int], list[int]],
    make_bundle: Callable[..., Any],
) -> Iterator[World]:
    """The first version serves; MLflow is its database, with no server yet."""
    settings = copy_world(template, tmp_path / "home", free_ports(2))
    deployer = ProcessDeployer(settings)
    deployer.start()
    try:
        yield World(settings, make_bundle)
    finally:
        deployer.stop()


@pytest.fixture
def mlflow(
    world: World, tmp_path: Path, free_ports: Callable[[int], list[int]]
) -> Iterator[tuple[MlflowServer, Between]]:
    """MLflow's server on that database, and what stands before it."""
    folder = tmp_path / "mlflow-server"
    folder.mkdir()
    server = MlflowServer(folder, world.settings.mlflow_uri, free_ports(1)[0])
    between = Between(server.url)
    thread = threading.Thread(target=between.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    server.start()
    try:
        yield server, between
    finally:
        between.server.shutdown()
        thread.join()
        between.server.server_close()
        between.http.close()
        server.end()


def _release(world: World, mlflow_uri: str, run_id: str = "r") -> Release:
    settings = world.settings.model_copy(update={"mlflow_uri": mlflow_uri})
    return Release(settings, run_id, candidate(world.settings, 2, world.make_bundle))


def test_away_at_the_start_of_a_promotion(
    world: World, free_ports: Callable[[int], list[int]]
) -> None:
    away = f"http://127.0.0.1:{free_ports(1)[0]}"
    release, before, began = _release(world, away), world.state(), time.monotonic()
    rows = world.make_bundle(world.settings.bundles_root, 0.1).rows
    with (
        Users(world.settings, rows, pause=0.1) as users,
        pytest.raises(DependencyUnavailable, match=f"MLflow is not available at {away}") as told,
    ):
        release.run("gate")
    assert time.monotonic() - began < 30
    assert told.value.exit_code == 6
    assert world.state() == before == (1, 1, 1, 1, 1)
    assert [op.candidate.version for op in world.ledger.ops("tiny")] == [1]
    assert (users.failed, users.versions.keys()) == (0, {"1"})


def test_lost_replies_and_a_death_before_the_alias(
    world: World, mlflow: tuple[MlflowServer, Between]
) -> None:
    server, between = mlflow
    registry = MlflowRegistry(between.url, world.settings.mlflow_artifacts)
    # The reply to a create is lost twice.
    between.lost[CREATE] = 2
    bundle = world.make_bundle(world.settings.bundles_root, 0.1)
    run = connect(between.url).create_run("0").info
    given = ("tiny", "key-lost", bundle.digest, f"{run.artifact_uri}/bundle")
    tags = {TRAINING_RUN_TAG: run.run_id}
    for _ in range(3):
        try:
            made = registry.register(*given, tags)
        except DependencyUnavailable:
            continue
    assert between.lost[CREATE] == 0
    same = [one for one in registry.versions("tiny") if one.run_key == "key-lost"]
    assert made.version == same[0].version and same[0].canonical
    assert all(one.tags[DUPLICATE_TAG] == str(made.version) for one in same[1:])
    assert registry.register(*given, tags) == made
    # MLflow dies when the alias is to be moved: decided, served, and told later.
    between.before[ALIAS] = lambda: server.end(signal.SIGKILL)
    release = _release(world, between.url)
    rows = world.make_bundle(world.settings.bundles_root, 0.1).rows
    with Users(world.settings, rows, pause=0.1) as users:
        for step in ("gate", "stage"):
            release.run(step)
        with pytest.raises(DependencyUnavailable, match="MLflow is not available"):
            release.run("commit")
            release.run("reconcile")
        assert world.state() == (2, 2, 1, 2, 2)
        server.start()
        release.run("commit")
        release.run("reconcile")
    assert world.state() == (2, 2, 2, 2, 2)
    assert users.failed == 0
    ops = [(op.candidate.version, op.state) for op in world.ledger.ops("tiny")]
    assert ops == [(1, State.DONE), (2, State.DONE)]
    assert world.ledger.verify() == []
