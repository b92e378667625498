"""A shadow gets copies of requests, and whatever becomes of it, users notice nothing."""

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psutil
import pytest
from client_load import running_clients
from greedy_bundle import make_greedy_bundle
from linear_bundle import LINE, make_linear_bundle
from small_bundles import SmallBundle

from ferryman.errors import IntegrityBroken
from ferryman.runtime.bundle import GOLDEN, seal
from ferryman.runtime.files import write_json
from ferryman.runtime.traffic import Traffic, TrafficState
from ferryman.serving.log.prediction_log import read_predictions

OP = hashlib.sha256(b"an operation").hexdigest()
EPOCH = 4
SHARE: dict[str, Any] = {
    "op": OP,
    "variant": "shadow",
    "version": 9,
    "weight": 1.0,
    "base_epoch": EPOCH,
    "fence": 1,
    "stage": 0,
    "lease": 60.0,
}


class Shadowed:
    """A running server of `tiny`, and a candidate that it may have as a shadow."""

    def __init__(self, server: Any, champion: SmallBundle, candidate: SmallBundle) -> None:
        self.server, self.champion, self.candidate = server, champion, candidate
        self.client = server.client

    def follow(self, bundle: SmallBundle | None = None, **changed: Any) -> TrafficState:
        """Give the candidate its share, or renew it."""
        given = bundle or self.candidate
        traffic = Traffic(**{**SHARE, "digest": given.digest, **changed})
        state: TrafficState = self.client.expose("tiny", traffic, str(given.folder))
        return state

    @property
    def state(self) -> TrafficState:
        """The share as the server tells it."""
        found: TrafficState | None = self.client.traffic("tiny")
        assert found is not None
        return found

    def process(self) -> psutil.Process | None:
        """The shadow's process, if there is one."""
        front = psutil.Process(int(self.server.deployer.status().process))
        found = [one for one in front.children() if "shadow" in one.cmdline()[:4]]
        return found[0] if found else None

    def running(self) -> psutil.Process:
        """Its process, which there must be."""
        found = self.process()
        assert found is not None
        return found

    def logged(self) -> dict[str, Any]:
        """The prediction log's rows by variant."""
        self.client.flush()
        now = datetime.now(UTC)
        places = (self.server.settings.predictions_root, "tiny")
        table = read_predictions(*places, now - timedelta(days=1), now + timedelta(days=1))
        rows: dict[str, Any] = {}
        for row in table.to_pylist():
            rows.setdefault(row["variant"], []).append(row)
        return rows


@pytest.fixture
def shadowed(start_server: Any, make_bundle: Any) -> Callable[..., Shadowed]:
    """shadowed(**declaration): a server of `tiny` at epoch 4, and a candidate."""

    def make(**declared: Any) -> Shadowed:
        server = start_server(**declared)
        root = server.settings.bundles_root
        found = Shadowed(server, make_bundle(root, 1.0), make_bundle(root, 10.0))
        server.load(found.champion, EPOCH)
        return found

    return make


def test_every_request_is_copied_and_its_rows_pair(shadowed: Any, wait_for: Any) -> None:
    server = shadowed(replicas=2)
    state = server.follow()
    assert state.everywhere and (state.copied, state.dropped) == (0, 0)
    url = f"{server.server.endpoint.url}/v1/models/tiny:predict"
    with httpx.Client(trust_env=False) as client:
        for number in range(300):
            place = number % len(server.champion.rows)
            answer = client.post(
                url,
                json={"instances": [server.champion.rows[place]]},
                headers={"x-request-id": f"mine-{number}"},
            )
            score = answer.json()["predictions"][0]
            assert score == pytest.approx(server.champion.outputs[place], abs=1e-5)
            assert answer.headers["x-model-variant"] == "champion"
    wait_for(lambda: server.state.candidate.requests == 300)
    state = server.state
    assert (state.copied, state.dropped, state.candidate.errors) == (300, 0, 0)
    assert (state.champion.requests, state.candidate.scored) == (300, 300)
    assert sum(state.candidate.seconds) == 300 and len(state.candidate.scores) == 300
    page = httpx.get(f"{server.server.endpoint.url}/metrics", trust_env=False).text
    told = 'ferryman_variant_requests_total{model="tiny",replica="front",variant="shadow"} 300.0'
    assert told in page
    rows = server.logged()
    champion = {row["request_id"]: row for row in rows["champion"]}
    assert len(rows["shadow"]) == 300
    for row in rows["shadow"]:
        place = int(row["request_id"].removeprefix("mine-")) % len(server.champion.rows)
        assert row["score"] == pytest.approx(server.candidate.outputs[place], abs=1e-5)
        assert (row["version"], row["epoch"], row["propensity"]) == (9, EPOCH, 1.0)
        assert champion[row["request_id"]]["hour"] == row["hour"]


def test_a_stopped_shadow_costs_users_nothing_and_is_fed_again(
    shadowed: Any, wait_for: Any
) -> None:
    server = shadowed(replicas=2)
    server.follow()
    with running_clients(server.server.endpoint.port, server.champion.rows[0], 4) as seen:
        wait_for(lambda: server.state.candidate.requests > 50)
        shadow = server.running()
        shadow.suspend()
        wait_for(lambda: server.state.dropped > 100)
        more = len(seen.answers) + 500
        wait_for(lambda: len(seen.answers) > more)
        before = server.state
        shadow.resume()
        wait_for(lambda: server.state.candidate.requests > before.candidate.requests + 500)
    assert seen.failures == [] and seen.wrong({"4": server.champion.outputs[0]}) == []
    wait_for(lambda: server.state.candidate.requests == server.state.copied)
    assert server.running().pid == shadow.pid and server.state.candidate.errors == 0


def test_a_killed_shadow_comes_back_and_its_death_counts(shadowed: Any, wait_for: Any) -> None:
    server = shadowed(replicas=2)
    server.follow()
    with running_clients(server.server.endpoint.port, server.champion.rows[0], 4) as seen:
        wait_for(lambda: server.state.candidate.requests > 50)
        first = server.running()
        first.kill()
        wait_for(lambda: server.state.dropped > 0)
        wait_for(lambda: server.process() not in (None, first) and server.state.everywhere)
        before = server.state.candidate
        wait_for(lambda: server.state.candidate.requests > before.requests + 100)
    assert seen.failures == [] and seen.wrong({"4": server.champion.outputs[0]}) == []
    assert before.requests > 50 and server.state.candidate.errors == 1
    assert "the shadow of tiny is gone: it was ended by SIGKILL" in server.server.log()


def test_large_bodies_go_as_files(shadowed: Any, wait_for: Any) -> None:
    server = shadowed(replicas=1)
    server.follow()
    rows = server.champion.rows * 500  # about 600 KB
    url = f"{server.server.endpoint.url}/v1/models/tiny:predict"
    binary = f"{server.server.endpoint.url}/v2/models/tiny/infer"
    with httpx.Client(trust_env=False, timeout=30) as client:
        for _ in range(3):
            assert len(client.post(url, json={"instances": rows}).json()["predictions"]) == 10_000
        inputs = [
            {"name": "carrier", "datatype": "BYTES", "shape": [1], "data": ["UA"]},
            {"name": "distance", "datatype": "FP64", "shape": [1], "data": [200.0]},
            {"name": "hour", "datatype": "INT64", "shape": [1], "data": [9]},
        ]
        assert client.post(binary, json={"inputs": inputs}).status_code == 200
    wait_for(lambda: server.state.candidate.requests == 4)
    assert (server.state.copied, server.state.dropped) == (4, 0)
    found = server.state.candidate
    assert found.errors == 0 and len(server.logged()["shadow"]) == 30_001


def test_a_share_is_copied_by_whom_it_is_about(shadowed: Any, wait_for: Any) -> None:
    server = shadowed(replicas=1)
    server.follow(weight=0.5)
    url = f"{server.server.endpoint.url}/v1/models/tiny:predict"
    with httpx.Client(trust_env=False) as client:
        for number in range(200):
            body = {"instances": [server.champion.rows[0]]}
            client.post(url, json=body, headers={"x-entity-key": f"e{number // 2}"})
    copied = server.state.copied
    assert 60 < copied < 140 and copied % 2 == 0 and server.state.dropped == 0
    # A new stage counts anew, in the same process.
    pid = server.running().pid
    server.follow(weight=1.0, stage=1)
    assert (server.state.copied, server.state.candidate.requests) == (0, 0)
    assert server.running().pid == pid


def test_withdrawn_it_scores_what_it_was_sent_logs_it_and_ends(
    shadowed: Any, wait_for: Any
) -> None:
    server = shadowed(replicas=1)
    server.follow()
    shadow = server.running()
    assert shadow.nice() >= 10
    policies = [os.sched_getscheduler(thread.id) for thread in shadow.threads()]
    assert policies.count(os.SCHED_IDLE) >= 2  # its log's thread, too
    shadow.suspend()
    url = f"{server.server.endpoint.url}/v1/models/tiny:predict"
    for row in server.champion.rows[:5]:
        httpx.post(url, json={"instances": [row]}, trust_env=False).raise_for_status()
    wait_for(lambda: server.state.copied == 5)
    server.client.withdraw("tiny", 1)
    assert server.client.traffic("tiny") is None
    shadow.resume()
    assert len(server.logged()["shadow"]) == 5
    wait_for(lambda: server.process() is None)


def test_one_that_eats_memory_is_bounded_and_users_are_answered(
    start_server: Any, wait_for: Any
) -> None:
    server = start_server(replicas=1, resources={"memory": "512Mi"})
    root = server.settings.bundles_root
    champion, manifest = make_linear_bundle(root, slope=1.0)
    where = {"bundle": str(champion), "digest": manifest.digest}
    server.client.load(LINE, version=1, epoch=EPOCH, **where)

    def follow(name: str, numbers: int) -> None:
        digest = make_greedy_bundle(root / LINE / name, numbers)
        given = Traffic(**{**SHARE, "digest": digest})
        assert server.client.expose(LINE, given, str(root / LINE / name)).everywhere

    with pytest.raises(
        IntegrityBroken, match=r"more than the 512 MiB of memory .* it used \d+ MiB"
    ):
        follow("too-greedy", 7_200_000)  # of the sixteen rows that its pace is measured with
    assert server.client.traffic(LINE) is None
    follow("greedy", 1024 * 1024)
    rows = [{"x": float(number)} for number in range(1, 401)]  # 1.6 GiB
    assert server.client.predict(LINE, rows).scores == [row["x"] for row in rows]
    wait_for(lambda: server.client.traffic(LINE).candidate.errors == 1)
    assert server.client.predict(LINE, rows[:1]).scores == [1.0]
    wait_for(lambda: server.client.traffic(LINE).candidate.scored == 1)


def test_it_ends_with_its_lease_and_with_its_front(shadowed: Any, wait_for: Any) -> None:
    server = shadowed(replicas=1)
    server.follow(lease=3.0)
    first = server.running()
    wait_for(lambda: not first.is_running())
    server.follow()
    second = server.running()
    second.suspend()  # a stopped one cannot see to its own end
    os.kill(int(server.server.deployer.status().process), signal.SIGKILL)
    wait_for(lambda: not second.is_running() or second.status() == psutil.STATUS_ZOMBIE)
    assert server.client.predict("tiny", server.champion.rows[:1]).version == EPOCH


def test_one_that_cannot_be_used_is_refused(shadowed: Any, tmp_path: Any) -> None:
    server = shadowed(replicas=1)
    folder = server.candidate.folder.with_name("changed")
    shutil.copytree(server.candidate.folder, folder)
    golden = json.loads((folder / GOLDEN).read_bytes())
    golden["outputs"][0] += 0.01
    write_json(folder / GOLDEN, golden)
    digest = seal(folder, model="tiny", task="binary", framework="sklearn").digest
    bad = server.candidate._replace(folder=folder, digest=digest)
    with pytest.raises(IntegrityBroken, match="golden row 0 scores"):
        server.follow(bad)
    assert server.client.traffic("tiny") is None
    server.follow()  # the next one is not hindered
    assert server.state.everywhere
