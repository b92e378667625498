"""The engine's refusals are told with what to do, and a container's limits are real."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ferryman.deployment.container.config import replica_config
from ferryman.deployment.container.engine import ContainerEngine, Held
from ferryman.deployment.container.report import report, why_ended
from ferryman.errors import DependencyUnavailable, PolicyRefused
from ferryman.spec.servers import ResourcesSpec

LABELS = {"io.ferryman.test": "engine"}
PYTHON = "/opt/ferryman/bin/python3"
DIGEST = f"sha256:{'0' * 64}"


@pytest.fixture
def engine() -> Iterator[ContainerEngine]:
    with ContainerEngine() as engine:
        yield engine
        for held in engine.held(LABELS):
            engine.end(held.id, 0)


@pytest.fixture
def run(engine: ContainerEngine, image: str) -> Callable[..., str]:
    """run(code, **resources): a container with a replica's limits that runs this code instead."""

    def start(code: str, **resources: Any) -> str:
        config = replica_config(ResourcesSpec(**resources), (), LABELS)
        name = f"ferryman-test-{time.time_ns()}"
        return engine.create(image, name, ["-c", code], {**config, "entrypoint": [PYTHON]})

    return start


def wait_for(engine: ContainerEngine, is_so: Callable[[Held], bool]) -> Held:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        (held,) = engine.held(LABELS)
        if is_so(held):
            return held
        time.sleep(0.05)
    raise AssertionError(f"not within 30 s: {held}")


def test_a_daemon_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'absent.sock'}")
    with pytest.raises(DependencyUnavailable, match=r"not reachable at unix://.*No such file"):
        ContainerEngine()


def test_a_daemon_that_hangs_is_told_within_seconds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "deaf.sock"))
        deaf.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'deaf.sock'}")
        started = time.monotonic()
        with pytest.raises(DependencyUnavailable, match=r"not reachable at .*timed out"):
            ContainerEngine()
        assert time.monotonic() - started < 8


def test_the_engine_of_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    with pytest.raises(PolicyRefused, match="not this machine's"):
        ContainerEngine()


def test_an_image_is_taken_by_its_digest_alone(engine: ContainerEngine, image: str) -> None:
    assert engine.find_image(image) == image
    for absent in (DIGEST, f"nobody/nothing@{DIGEST}"):
        with pytest.raises(DependencyUnavailable, match="is not on this machine") as told:
            engine.find_image(absent)
        assert "docker " in told.value.remedy


def test_the_right_name_with_other_content_is_refused(engine: ContainerEngine, image: str) -> None:
    with pytest.raises(PolicyRefused, match=f"ferryman-serving is here as {image}"):
        engine.find_image(f"ferryman-serving@{DIGEST}")


def test_more_than_the_machine_has_is_refused(
    engine: ContainerEngine, run: Callable[..., str]
) -> None:
    with pytest.raises(DependencyUnavailable, match=r"refused: .*CPUs"):
        run("", cpu=256)
    assert engine.held(LABELS) == []


def test_a_gpu_that_is_not_there_is_told_and_nothing_is_left(
    engine: ContainerEngine, run: Callable[..., str]
) -> None:
    # Sixteen are more than a machine of tests has, whether it has a driver for them or not.
    with pytest.raises(DependencyUnavailable, match=r"the Docker engine refused: "):
        run("", gpu=16)
    assert engine.held(LABELS) == []


def test_a_container_over_its_memory_is_ended_told_and_started_again(
    engine: ContainerEngine, run: Callable[..., str]
) -> None:
    run("x = bytearray(200 * 2**20)", memory="32Mi")
    held = wait_for(engine, lambda held: held.restarts >= 1)
    assert "ended at its memory limit of 32 MiB" in why_ended(engine, held)
    (replica,) = report(engine, [held], {})
    assert "memory limit" in replica.detail and "started again" in replica.detail


def test_a_fork_bomb_and_a_full_tmp_end_at_their_limits(
    engine: ContainerEngine, run: Callable[..., str]
) -> None:
    run(
        "import threading, time\n"
        "def block(): time.sleep(60)\n"
        "try:\n"
        "    for n in range(10_000): threading.Thread(target=block, daemon=True).start()\n"
        "except RuntimeError: assert n < 80\n"
        "try: open('/tmp/full', 'wb').write(bytes(100 * 2**20))\n"
        "except OSError: print('bounded', flush=True); time.sleep(60)\n"
    )
    held = wait_for(engine, lambda held: engine.last_words(held.id) == "bounded")
    assert held.state == "running" and why_ended(engine, held) == ""


def test_one_that_fails_is_told_with_its_last_words(
    engine: ContainerEngine, run: Callable[..., str]
) -> None:
    run("raise SystemExit('the cupboard is bare')")
    held = wait_for(engine, lambda held: held.restarts >= 1)
    assert "exit 1; started again" in why_ended(engine, held)
    assert "the cupboard is bare" in why_ended(engine, held)


def test_ending_what_is_gone_is_fine(engine: ContainerEngine, run: Callable[..., str]) -> None:
    container = run("import time; time.sleep(60)")
    engine.end(container, 0)
    engine.end(container, 0)
    assert engine.held(LABELS) == [] and engine.last_words(container) == ""
