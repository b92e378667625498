"""A server comes back from its own verified copies, and from nothing else."""

import shutil
import signal
import subprocess
import sys
from typing import Any

import httpx
import pytest

from ferryman.errors import IntegrityBroken
from ferryman.runtime.bundle import ONNX


def test_a_restart_needs_neither_registry_nor_bundles(start_server: Any, make_bundle: Any) -> None:
    server = start_server(replicas=1)
    root = server.settings.bundles_root
    first, second = make_bundle(root), make_bundle(root, 10.0)
    server.load(first, 1)
    server.load(second, 2)
    server.deployer.stop()
    shutil.rmtree(root)
    assert server.deployer.start().state == "ready"
    answer = server.client.predict("tiny", second.rows)
    assert (answer.epoch, answer.scores) == (2, pytest.approx(second.outputs, abs=1e-5))
    previous = f"{server.endpoint.url}/v1/models/tiny/labels/previous:predict"
    found = httpx.post(previous, json={"instances": first.rows}, trust_env=False)
    assert found.headers["x-model-epoch"] == "1"
    assert found.json()["predictions"] == pytest.approx(first.outputs, abs=1e-5)


def test_a_corrupted_copy_is_not_served_and_a_load_mends_it(
    start_server: Any, make_bundle: Any
) -> None:
    server = start_server(replicas=2)
    bundle = make_bundle(server.settings.bundles_root)
    server.load(bundle, 3)
    server.deployer.stop()
    copy = server.endpoint.root / "models" / "tiny" / bundle.digest / ONNX
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)
    deployment = server.deployer.start()
    assert deployment.state == "not_ready" and "cannot load tiny" in deployment.detail
    status = server.client.status("tiny")
    assert status is not None
    assert status["loaded"] is False and "digest mismatch" in status["problem"]
    server.load(bundle, 3)
    assert server.deployer.status().state == "ready"
    assert server.client.predict("tiny", bundle.rows).epoch == 3


def test_a_bad_bundle_changes_nothing_in_any_replica(start_server: Any, make_bundle: Any) -> None:
    server = start_server(replicas=2)
    root = server.settings.bundles_root
    good, bad = make_bundle(root), make_bundle(root, 10.0)
    server.load(good, 1)
    (bad.folder / ONNX).write_bytes(b"no graph")
    with pytest.raises(IntegrityBroken, match="digest mismatch"):
        server.load(bad, 2)
    assert server.client.status("tiny")["epoch"] == 1
    for _ in range(6):
        assert server.client.predict("tiny", good.rows).epoch == 1


def test_administration_is_not_on_the_public_port(start_server: Any) -> None:
    server = start_server()
    token = server.endpoint.token_file.read_text()
    for path in ("/admin/models", "/admin/replicas"):
        answer = httpx.get(
            server.endpoint.url + path,
            headers={"authorization": f"Bearer {token}"},
            trust_env=False,
        )
        assert answer.status_code == 404
    assert token not in server.log()


def test_a_replica_that_stands_alone_serves_copies_and_ends_cleanly(
    start_server: Any, make_bundle: Any, free_ports: Any, wait_for: Any
) -> None:
    server = start_server()
    bundle = make_bundle(server.settings.bundles_root)
    server.load(bundle, 5)
    server.deployer.stop()
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "ferryman.serving", "standalone"]
    command += ["--root", str(server.endpoint.root), "--port", str(port)]
    url = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        try:
            return httpx.get(f"{url}/v2/health/ready", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        wait_for(is_ready)
        path = "/v1/models/tiny:predict"
        answer = httpx.post(url + path, json={"instances": bundle.rows}, trust_env=False)
        assert answer.json()["predictions"] == pytest.approx(bundle.outputs, abs=1e-5)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=20)[1]
    assert process.returncode == 0 and "Traceback" not in said
    assert list((server.endpoint.root / "predictions").glob("tiny/*/*.parquet"))
