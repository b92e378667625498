"""Containers that serve: the contract, shared load, losses, limits, and what is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from contract import test_deployer_contract
from serving_containers import (
    answered_by,
    containers_of,
    load_model,
    server_of,
    under_load,
    wait_until,
)

from ferryman.deployment.container.config import HOME_LABEL, REPLICA_LABEL, home_digest
from ferryman.deployment.container.container_deployer import ContainerDeployer
from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.errors import DependencyUnavailable, PolicyRefused
from ferryman.runtime.endpoints import main_endpoint
from ferryman.serving.client import ServingClient
from ferryman.serving.log.prediction_log import read_predictions
from ferryman.settings import Settings
from ferryman.spec.serving import MAIN

Make = Callable[..., ContainerDeployer]

# Every case that holds for every deployer is run with the fixture `deployer` of this file.
globals().update(
    {name: case for name, case in vars(test_deployer_contract).items() if name.startswith("test_")}
)


@pytest.fixture
def settings(tmp_path: Path, free_ports) -> Settings:
    port, admin_port = free_ports(2)
    return Settings(home=tmp_path / "home", serving_port=port, serving_admin_port=admin_port)


@pytest.fixture
def make(settings: Settings, image: str) -> Iterator[Make]:
    """make(replicas=1, **resources): a deployer of the server `main`, stopped in the end."""
    made: list[ContainerDeployer] = []

    def deployer_of(replicas: int = 1, **resources: Any) -> ContainerDeployer:
        made.append(ContainerDeployer(settings, MAIN, server_of(image, replicas, **resources)))
        return made[-1]

    yield deployer_of
    for deployer in made[-1:]:
        deployer.stop()


@pytest.fixture
def deployer(make: Make) -> ContainerDeployer:
    return make()


def test_three_containers_share_the_load_and_one_that_is_killed_loses_nothing(
    make: Make, settings: Settings, client: Any, make_bundle
) -> None:
    deployer = make(3)
    started = deployer.start()
    assert started.state == "ready" and len(started.replicas) == started.wanted == 3
    bundle = make_bundle(settings.bundles_root)
    load_model(settings, bundle)
    with under_load(settings, bundle, retries=5) as asked:
        wait_until(asked, 1500)
        counts = answered_by(settings)
        shares = {name: count / sum(counts.values()) for name, count in counts.items()}
        assert len(shares) == 3
        assert all(0.28 <= share <= 0.38 for share in shares.values()), shares
        assert asked.again == 0 and asked.lost == []
        name, container = next(iter(containers_of(client, deployer).items()))
        client.api.kill(container)
        wait_until(asked, 300)
        killed = deployer.status()
        assert killed.state == "ready"
        assert {one.name: one.state for one in killed.replicas}[name] == "stopped"
        assert f"{name}: killed" in killed.detail
        assert len(deployer.start().replicas) == 3
        wait_until(asked, 300)
    assert asked.lost == []
    assert asked.again <= 6  # at most what was with the killed one
    assert {one.state for one in deployer.status().replicas} == {"ready"}


def test_scaling_and_replacing_under_load_drop_nothing(
    make: Make, settings: Settings, client: Any, make_bundle
) -> None:
    deployer = make(1)
    deployer.start()
    bundle = make_bundle(settings.bundles_root)
    load_model(settings, bundle)
    with under_load(settings, bundle) as asked:
        wait_until(asked, 100)
        assert len(deployer.scale(3).replicas) == 3
        wait_until(asked, 300)
        assert len(answered_by(settings)) == 3
        assert len(deployer.scale(1).replicas) == 1
        wait_until(asked, 100)
        before = containers_of(client, deployer)
        changed = make(1, memory="300Mi")
        replaced = changed.start()
        assert len(replaced.replicas) == 1
        assert not containers_of(client, changed).keys() & before.keys()
        wait_until(asked, 100)
    assert asked.lost == []
    changed.stop()
    assert changed.start().wanted == 1  # as it was scaled


def test_a_container_may_do_nothing_but_answer(
    make: Make, settings: Settings, client: Any, make_bundle
) -> None:
    deployer = make()
    deployer.start()
    bundle = make_bundle(settings.bundles_root)
    load_model(settings, bundle)
    (container,) = containers_of(client, deployer).values()
    root, predictions = settings.server_root(MAIN), settings.predictions_root
    code = (
        "import os, socket, sys\n"
        "def may(name, mode):\n"
        "    try: open(name, mode).close(); return True\n"
        "    except OSError: return False\n"
        f"print(os.getuid() != 0, os.listdir('/sys/class/net'), may('/opt/x', 'w'),\n"
        f"  may({str(root / 'x')!r}, 'w'), may({str(predictions / 'x')!r}, 'w'),\n"
        f"  len(open({str(root / 'admin.token')!r}).read()),\n"
        "  [line.split()[1] for line in open('/proc/self/status')\n"
        "   if line.startswith(('CapEff', 'NoNewPrivs'))])\n"
    )
    result = client.containers.get(container).exec_run(["/opt/ferryman/bin/python3", "-c", code])
    expected = "True ['lo'] False False True 0 ['0000000000000000', '1']"
    assert result.output.decode().strip() == expected
    with ServingClient(main_endpoint(settings)) as asking:
        scores = asking.predict("tiny", bundle.rows).scores
        assert scores == pytest.approx(bundle.outputs, abs=1e-5)
        asking.flush()
    now, hour = datetime.now(UTC), timedelta(hours=1)
    assert read_predictions(predictions, "tiny", now - hour, now + hour).num_rows == 20


def test_replicas_outlive_their_front_and_a_new_one_takes_them_over(
    make: Make, settings: Settings, client: Any, make_bundle
) -> None:
    deployer = make(2)
    first = deployer.start()
    bundle = make_bundle(settings.bundles_root)
    load_model(settings, bundle)
    before = containers_of(client, deployer)
    with under_load(settings, bundle, retries=5) as asked:
        wait_until(asked, 50)
        os.kill(int(first.process), signal.SIGKILL)
        wait_until(asked, 100)
        orphaned = deployer.status()
        assert orphaned.state == "ready" and "front has gone" in orphaned.detail
        again = deployer.start()
        assert again.state == "ready" and again.process != first.process
        wait_until(asked, 100)
    assert asked.lost == []
    assert containers_of(client, deployer) == before


def test_what_a_killed_deployer_left_is_reaped(make: Make, settings: Settings, client: Any) -> None:
    deployer = make()
    deployer.start()
    (container,) = containers_of(client, deployer).values()
    labels = client.containers.get(container).labels
    image = client.containers.get(container).image.id
    left = client.api.create_container(image, labels={**labels, REPLICA_LABEL: "left"})
    assert len(deployer.start().replicas) == 1
    assert left["Id"] not in {one.id for one in client.containers.list(all=True)}
    client.containers.get(container).stop()
    assert deployer.status().replicas[0].state == "stopped"
    assert deployer.start().replicas[0].state == "ready"
    deployer.stop()
    assert left_behind(client, settings) == []
    processes = ProcessDeployer(settings)  # the same server in another place
    assert processes.start().state == "ready"
    processes.stop()


def test_a_container_that_hangs_is_told_and_replaced(make: Make, client: Any) -> None:
    deployer = make(2)
    deployer.start()
    name, container = next(iter(containers_of(client, deployer).items()))
    client.containers.get(container).pause()
    assert (name, "silent", "paused") in [
        (one.name, one.state, one.detail) for one in deployer.status().replicas
    ]
    started = deployer.start()
    assert [one.state for one in started.replicas] == ["ready", "ready"]
    assert name not in {one.name for one in started.replicas}
    (other, *_) = containers_of(client, deployer).values()
    client.containers.get(other).pause()
    before = time.monotonic()
    assert deployer.stop().state == "stopped"
    assert time.monotonic() - before < 15


def test_a_deployer_that_is_killed_while_it_starts_is_made_good_by_the_next(
    make: Make, settings: Settings, image: str, client: Any
) -> None:
    code = (
        "import sys;"
        "from ferryman.deployment.container.container_deployer import ContainerDeployer;"
        "from ferryman.settings import Settings; from ferryman.spec.servers import ServerSpec;"
        "ContainerDeployer(Settings.model_validate_json(sys.argv[1]), 'main',"
        "ServerSpec.model_validate_json(sys.argv[2])).start()"
    )
    own = settings.model_dump_json(include={"home", "serving_port", "serving_admin_port"})
    given = [own, server_of(image, 3).model_dump_json()]
    starting = subprocess.Popen([sys.executable, "-c", code, *given])
    while not left_behind(client, settings):
        assert starting.poll() is None
        time.sleep(0.02)
    starting.kill()
    starting.wait()
    started = make(3).start()
    assert [one.state for one in started.replicas] == ["ready"] * 3
    assert len(left_behind(client, settings)) == 3


def test_a_replica_over_its_memory_is_told_and_others_serve_on(
    make: Make, settings: Settings, client: Any, make_bundle
) -> None:
    deployer = make(2, memory="80Mi")
    deployer.start()
    bundle = make_bundle(settings.bundles_root)
    load_model(settings, bundle)
    name, container = next(iter(containers_of(client, deployer).items()))
    # What lies in /tmp counts as the container's memory, and cannot be ended: the replica is.
    fill = "file = open('/tmp/full', 'wb')\nfor _ in range(60): file.write(bytes(2**20))"
    with under_load(settings, bundle, clients=3, retries=20) as asked:
        client.containers.get(container).exec_run(["/opt/ferryman/bin/python3", "-c", fill])
        wait_until(asked, 200)
        told = wait_for_state(deployer, "ready")
    assert asked.lost == []
    assert f"{name}: ended at its memory limit of 80 MiB" in told
    assert told.endswith("; started again once")
    assert containers_of(client, deployer)[name] == container


def wait_for_state(deployer: ContainerDeployer, state: str) -> str:
    """The detail, as soon as every replica is in a state."""
    deadline = time.monotonic() + 30
    while True:
        found = deployer.status()
        if {one.state for one in found.replicas} == {state}:
            return found.detail
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def left_behind(client: Any, settings: Settings) -> list[Any]:
    ours = f"{HOME_LABEL}={home_digest(settings.home)}"
    found: list[Any] = client.containers.list(all=True, filters={"label": ours})
    return found


def test_too_little_memory_to_start_is_told_and_nothing_is_left(
    make: Make, settings: Settings, client: Any
) -> None:
    with pytest.raises(DependencyUnavailable, match="ended at its memory limit of 24 MiB"):
        make(memory="24Mi").start()
    assert left_behind(client, settings) == []


def test_without_engine_or_image_nothing_is_begun(
    make: Make, settings: Settings, image: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    absent = server_of(f"sha256:{'0' * 64}")
    with pytest.raises(DependencyUnavailable, match="not on this machine"):
        ContainerDeployer(settings, MAIN, absent).start()
    other = server_of(f"ferryman-serving@sha256:{'0' * 64}")
    with pytest.raises(PolicyRefused, match="is here as"):
        ContainerDeployer(settings, MAIN, other).start()
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'absent'}")
        started = time.monotonic()
        for call in (make().start, make().status, make().stop, lambda: make().scale(2)):
            with pytest.raises(DependencyUnavailable, match="docker daemon not reachable at"):
                call()
        assert time.monotonic() - started < 5
    assert not (settings.server_root(MAIN) / "process.json").exists()
    with pytest.raises(httpx.TransportError):
        httpx.get(main_endpoint(settings).url, trust_env=False)
