"""The serving process as a process: detached, restarted, killed under load, swapped under load."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.errors import (
    DataRejected,
    DependencyUnavailable,
    IntegrityBroken,
    SpecError,
    Superseded,
)
from ferryman.runtime.endpoints import main_endpoint
from ferryman.serving.client import ServingClient
from ferryman.serving.log.prediction_log import read_predictions
from ferryman.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, free_ports) -> Settings:
    port, admin_port = free_ports(2)
    return Settings(home=tmp_path / "home", serving_port=port, serving_admin_port=admin_port)


@pytest.fixture
def deployer(settings: Settings) -> Iterator[ProcessDeployer]:
    deployer = ProcessDeployer(settings)
    yield deployer
    deployer.stop()


@pytest.fixture
def client(settings: Settings) -> Iterator[ServingClient]:
    with ServingClient(main_endpoint(settings)) as client:
        yield client


def load(client: ServingClient, bundle: Any, epoch: int) -> None:
    where = {"bundle": str(bundle.folder), "digest": bundle.digest}
    client.load("tiny", version=epoch, epoch=epoch, **where)


def test_start_status_stop_are_safe_to_repeat(deployer: ProcessDeployer, client) -> None:
    assert deployer.status().state == "stopped"
    assert deployer.stop().state == "stopped"
    with pytest.raises(DependencyUnavailable, match="not reachable at http"):
        client.predict("tiny", [{}])
    first = deployer.start()
    assert first.state == "ready"
    assert deployer.start() == first == deployer.status()
    process = psutil.Process(int(first.process))
    assert os.getsid(process.pid) == process.pid  # a session of its own: it outlives its starter
    assert deployer.stop().state == "stopped"
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert deployer.status().state == "stopped"


def test_the_server_outlives_its_starter(settings: Settings, deployer: ProcessDeployer) -> None:
    code = (
        "import sys; from ferryman.deployment.process.process_deployer import ProcessDeployer;"
        "from ferryman.settings import Settings;"
        "ProcessDeployer(Settings(home=sys.argv[1], serving_port=int(sys.argv[2]),"
        "serving_admin_port=int(sys.argv[3]))).start()"
    )
    ports = [str(settings.serving_port), str(settings.serving_admin_port)]
    starter = [sys.executable, "-c", code, str(settings.home), *ports]
    subprocess.run(starter, check=True, timeout=60)
    assert deployer.status().state == "ready"


@pytest.mark.parametrize("which", ["serving_port", "serving_admin_port"])
def test_a_taken_port_names_its_holder(
    settings: Settings, deployer: ProcessDeployer, which: str
) -> None:
    port = getattr(settings, which)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        with pytest.raises(DependencyUnavailable, match=rf"port {port}.*pid {os.getpid()}"):
            deployer.start()
    assert deployer.status().state == "stopped"
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        arguments = ["--home", str(settings.home), "--port", str(settings.serving_port)]
        arguments += ["--admin-port", str(settings.serving_admin_port)]
        run = [sys.executable, "-m", "ferryman.serving", *arguments]
        ended = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 6
    assert f"port {port}" in ended.stderr and "Traceback" not in ended.stderr


def test_a_server_that_cannot_start_says_why(settings: Settings, deployer: ProcessDeployer) -> None:
    settings.serving_root.mkdir(parents=True)
    (settings.serving_root / "served.json").write_text("{")
    with pytest.raises(DependencyUnavailable, match=r"served\.json cannot be read"):
        deployer.start()


def test_a_reused_pid_is_left_alone(settings: Settings, deployer: ProcessDeployer) -> None:
    settings.serving_root.mkdir(parents=True)
    state = {"pid": os.getpid(), "started": 1.0, "group": 1, "port": 1, "admin_port": 2}
    (settings.serving_root / "process.json").write_text(json.dumps(state))
    assert deployer.status().state == "stopped"
    assert deployer.stop().state == "stopped"  # and this test lives on


def test_the_client_tells_errors_apart(
    settings: Settings, deployer: ProcessDeployer, client: ServingClient, make_bundle
) -> None:
    deployer.start()
    bundle = make_bundle(settings.bundles_root)
    with pytest.raises(SpecError, match="404"):
        client.predict("tiny", bundle.rows)
    assert client.status("tiny") is None
    client.check("tiny", str(bundle.folder), bundle.digest)
    assert client.status("tiny") is None
    load(client, bundle, 2)
    answer = client.predict("tiny", bundle.rows)
    assert answer.scores == pytest.approx(bundle.outputs, abs=1e-5)
    assert (answer.version, answer.epoch) == (2, 2)
    with pytest.raises(DataRejected, match="row 1, field hour"):
        client.predict("tiny", [bundle.rows[0], {**bundle.rows[1], "hour": "x"}])
    with pytest.raises(Superseded, match="epoch 2"):
        load(client, bundle, 1)
    with pytest.raises(IntegrityBroken, match="digest"):
        client.check("tiny", str(bundle.folder), "f" * 64)
    assert client.is_ready()


def test_the_server_is_lean(deployer: ProcessDeployer, client, settings, make_bundle) -> None:
    code = (
        "import sys, ferryman.serving.__main__, ferryman.serving.client;"
        "heavy = {'mlflow', 'sklearn', 'pandas', 'airflow', 'sqlalchemy', 'skl2onnx', 'scipy'};"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    deployment = deployer.start()
    front = psutil.Process(int(deployment.process))
    replica = psutil.Process(int(deployment.replicas[0].name))
    bundle = make_bundle(settings.bundles_root)
    load(client, bundle, 1)
    client.predict("tiny", bundle.rows * 100)
    client.flush()
    assert front.memory_info().rss < 45e6
    assert replica.memory_info().rss < 180e6  # 80 MB to predict, and pyarrow to log
    token = main_endpoint(settings).token_file.read_text()
    assert token not in (settings.serving_root / "server.log").read_text()


def test_kill_9_under_load_comes_back_on_the_same_version(
    settings: Settings, deployer: ProcessDeployer, client: ServingClient, make_bundle
) -> None:
    bundle = make_bundle(settings.bundles_root)
    deployment = deployer.start()
    load(client, bundle, 4)
    row = {**bundle.rows[0], "event_time": "2013-01-01T10:15:00Z"}
    with _background_load(settings, row) as answers:
        _wait_for(lambda: len(answers) > 20)
        client.flush()
        for pid in (int(deployment.process), int(deployment.replicas[0].name)):
            os.kill(pid, signal.SIGKILL)
        _wait_for(lambda: deployer.status().state == "stopped")
        killed_at = len(answers)
        began = time.monotonic()
        assert deployer.start().state == "ready"
        assert time.monotonic() - began < 10
        _wait_for(lambda: len(answers) > killed_at + 20)
    assert all(abs(score - bundle.outputs[0]) < 1e-5 for score, _ in answers)
    assert {epoch for _, epoch in answers} == {"4"}
    client.flush()
    day = datetime(2013, 1, 1, tzinfo=UTC)
    logged = read_predictions(settings.predictions_root, "tiny", day, day.replace(day=2))
    assert 20 < logged.num_rows <= len(answers) + 2  # an answer on its way when the kill came


def test_swaps_under_load_give_no_wrong_answer(
    settings: Settings, deployer: ProcessDeployer, client: ServingClient, make_bundle
) -> None:
    bundles = [make_bundle(settings.bundles_root, strength) for strength in (0.1, 1.0, 10.0)]
    expected = {str(epoch): bundles[epoch % 3].outputs[0] for epoch in range(1, 13)}
    deployer.start()
    load(client, bundles[1], 1)
    with _background_load(settings, bundles[0].rows[0], strict=True) as answers:
        for epoch in range(2, 13):
            wanted = len(answers) + 10
            _wait_for(lambda: len(answers) > wanted)  # noqa: B023 - called before the loop goes on
            load(client, bundles[epoch % 3], epoch)
        _wait_for(lambda: bool(answers) and answers[-1][1] == "12")
    wrong = [(s, e) for s, e in answers if abs(s - expected[e]) > 1e-5]
    assert wrong == []
    assert {epoch for _, epoch in answers} == set(expected)


def _wait_for(condition: Any, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.01)


@contextmanager
def _background_load(
    settings: Settings, row: dict[str, Any], *, strict: bool = False
) -> Iterator[list[tuple[float, str]]]:
    """Four clients without pause; yields (score, epoch) of answers. `strict`: none may fail."""
    answers: list[tuple[float, str]] = []
    failures: list[str] = []
    ending = threading.Event()
    url = f"{settings.serving_url}/v1/models/tiny:predict"

    async def one(http: httpx.AsyncClient) -> None:
        while not ending.is_set():
            try:
                answer = await http.post(url, json={"instances": [row]})
            except httpx.TransportError as error:
                failures.append(repr(error))
                await asyncio.sleep(0.02)
                continue
            if answer.status_code == 200:
                score = answer.json()["predictions"][0]
                answers.append((score, answer.headers["x-model-epoch"]))
            else:
                failures.append(answer.text)

    async def many() -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            await asyncio.gather(*(one(http) for _ in range(4)))

    thread = threading.Thread(target=asyncio.run, args=(many(),))
    thread.start()
    try:
        yield answers
    finally:
        ending.set()
        thread.join()
    assert not strict or failures == []
