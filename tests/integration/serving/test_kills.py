"""Replicas, fronts and whole servers are killed, stopped and scaled under load."""

import os
import re
import signal
import time
from typing import Any

import psutil
import pytest
from client_load import running_clients


@pytest.fixture
def served(start_server: Any, make_bundle: Any) -> Any:
    """serve(**declared): a server of `tiny` at epoch 4, and the bundle."""

    def serve(**declared: Any) -> tuple[Any, Any]:
        server = start_server(**declared)
        bundle = make_bundle(server.settings.bundles_root)
        server.load(bundle, 4)
        return server, bundle

    return serve


def test_a_killed_replica_fails_its_own_connections_once(served: Any, wait_for: Any) -> None:
    server, bundle = served(replicas=2)
    with running_clients(server.endpoint.port, bundle.rows[0], 8) as seen:
        wait_for(lambda: len(seen.answers) > 100)
        pids = server.pids()
        os.kill(pids["r1"], signal.SIGKILL)
        wait_for(lambda: server.pids().get("r1", pids["r1"]) != pids["r1"])
        wait_for(lambda: server.deployer.status().detail == "")
        more = len(seen.answers) + 200
        wait_for(lambda: len(seen.answers) > more)
    assert seen.lost == [] and seen.wrong({"4": bundle.outputs[0]}) == []
    assert len(seen.failures) <= 8
    assert server.admin.replicas()["restarts"] == 1
    assert re.search(r"replica r1 \(pid \d+\) ended by SIGKILL", server.log())


def test_a_killed_front_drops_nothing_and_comes_back(served: Any, wait_for: Any) -> None:
    server, bundle = served(replicas=2)
    pids, front = server.pids(), int(server.deployer.status().process)
    port = server.endpoint.port
    with (
        running_clients(port, bundle.rows[0], 4) as kept,
        running_clients(port, bundle.rows[0], 2, close=True) as anew,
    ):
        wait_for(lambda: len(kept.answers) > 50 and len(anew.answers) > 50)
        os.kill(front, signal.SIGKILL)
        wait_for(lambda: server.deployer.status().process not in ("", str(front)))
        wait_for(lambda: server.deployer.status().state == "ready" and server.pids() == pids)
        for seen in (kept, anew):
            more = len(seen.answers) + 50
            wait_for(lambda: len(seen.answers) > more)  # noqa: B023 - called at once
    assert (kept.failures, anew.failures) == ([], [])
    assert server.deployer.start().process == server.deployer.status().process
    again = server.deployer.stop()
    assert again.state == "stopped" and not any(map(psutil.pid_exists, pids.values()))


def test_connections_that_a_killed_front_held_are_answered(served: Any, wait_for: Any) -> None:
    server, bundle = served(replicas=2)
    front = psutil.Process(int(server.deployer.status().process))
    with running_clients(server.endpoint.port, bundle.rows[0], 6) as seen:
        wait_for(lambda: len(seen.answers) > 500)
        front.suspend()  # every connection comes to it after some requests, and goes no further
        _wait_for_silence(seen, wait_for)
        front.kill()
        more = len(seen.answers) + 500
        wait_for(lambda: len(seen.answers) > more)
        wait_for(lambda: server.deployer.status().state == "ready")
    assert seen.failures == [] and seen.wrong({"4": bundle.outputs[0]}) == []


def _wait_for_silence(seen: Any, wait_for: Any) -> None:
    before = [-1]

    def is_silent() -> bool:
        time.sleep(0.3)
        now = len(seen.answers)
        was, before[0] = before[0], now
        return now == was

    wait_for(is_silent)


def test_all_killed_come_back_on_the_same_version(served: Any, wait_for: Any) -> None:
    server, bundle = served(replicas=2)
    with running_clients(server.endpoint.port, bundle.rows[0], 4) as seen:
        wait_for(lambda: len(seen.answers) > 50)
        for pid in [int(server.deployer.status().process), *server.pids().values()]:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: server.deployer.status().state == "stopped")
        killed_at, began = len(seen.answers), time.monotonic()
        assert server.deployer.start().state == "ready"
        assert time.monotonic() - began < 10
        wait_for(lambda: len(seen.answers) > killed_at + 20)
    assert seen.lost == [] and seen.wrong({"4": bundle.outputs[0]}) == []


def test_scaling_up_and_down_drops_nothing_and_is_remembered(served: Any, wait_for: Any) -> None:
    server, bundle = served(replicas=1)
    with running_clients(server.endpoint.port, bundle.rows[0], 6) as seen:
        for count in (3, 1, 2):
            deployment = server.deployer.scale(count)
            assert (deployment.state, deployment.wanted) == ("ready", count)
            assert [one.state for one in deployment.replicas] == ["ready"] * count
            more = len(seen.answers) + 60
            wait_for(lambda: len(seen.answers) > more)  # noqa: B023 - called at once
    assert seen.failures == []
    server.deployer.stop()
    assert len(server.deployer.start().replicas) == 2


def test_a_swap_in_three_replicas_gives_no_wrong_answer(
    served: Any, make_bundle: Any, wait_for: Any
) -> None:
    server, _ = served(replicas=3)
    root = server.settings.bundles_root
    bundles = [make_bundle(root, strength) for strength in (0.1, 1.0, 10.0)]
    expected = {str(epoch): bundles[epoch % 3].outputs[0] for epoch in range(4, 11)}
    with running_clients(server.endpoint.port, bundles[0].rows[0], 6) as seen:
        for epoch in range(5, 11):
            server.load(bundles[epoch % 3], epoch)
            asked = len(seen.answers)
            wait_for(lambda: len(seen.answers) > asked + 40)  # noqa: B023 - called at once
            # A client that is told that a version is loaded gets that version from every replica.
            assert {epoch for _, epoch in seen.answers[asked + 6 :]} == {str(epoch)}
    assert seen.failures == [] and seen.wrong(expected) == []
    labels = server.client.predict("tiny", bundles[0].rows)
    assert labels.epoch == 10


def test_a_replica_that_hangs_is_replaced(served: Any, wait_for: Any) -> None:
    server, _ = served(replicas=2)
    pids = server.pids()
    os.kill(pids["r2"], signal.SIGSTOP)
    wait_for(lambda: "silent" in {one.state for one in server.deployer.status().replicas})
    wait_for(lambda: server.pids().get("r2", pids["r2"]) != pids["r2"])
    assert "it has not answered for 10 s" in server.log()
    wait_for(lambda: server.deployer.status().detail == "")


def test_a_replica_above_its_memory_is_replaced_and_told(start_server: Any, wait_for: Any) -> None:
    server = start_server(replicas=1, resources={"memory": "40Mi"})
    wait_for(lambda: "more than the declared 40 MiB (resources.memory)" in server.log())
    assert re.search(r"it uses \d+ MiB of memory", server.admin.replicas()["last_words"])


def test_term_ends_all_cleanly(served: Any) -> None:
    server, bundle = served(replicas=2)
    processes = [psutil.Process(pid) for pid in server.pids().values()]
    front = psutil.Process(int(server.deployer.status().process))
    for _ in range(10):
        server.client.predict("tiny", bundle.rows)
    front.terminate()
    assert front.wait(timeout=15) == 0
    assert not any(process.is_running() for process in processes)
    found = list(server.settings.predictions_root.glob("tiny/*/*.parquet"))
    assert found
