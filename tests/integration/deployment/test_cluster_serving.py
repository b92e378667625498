"""What pods do, with real processes and a real S3: check, fetch, serve with the store gone."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from services.cluster_world import ClusterWorld, server_spec
from services.kubernetes_api import KubernetesApi
from services.s3_server import KEY, SECRET, S3Server

from ferryman.deployment.cluster.kubernetes_deployer import declared_workload
from ferryman.deployment.cluster.kubernetes_model_server import KubernetesModelServer
from ferryman.deployment.cluster.server import ClusterServer
from ferryman.errors import IntegrityBroken
from ferryman.runtime.data_store import open_object_store
from ferryman.settings import Settings


def url_of(s3: S3Server) -> str:
    return f"s3://{KEY}:{SECRET}@bundles/released?endpoint={s3.url}&region=us-east-1"


def model_server(settings: Settings, api: KubernetesApi) -> KubernetesModelServer:
    workload = declared_workload(settings, "main", server_spec(replicas=2))
    server = ClusterServer(workload, api.cluster(), ClusterWorld.patience)
    return KubernetesModelServer(settings, server, open_object_store(workload.bundles))


def test_a_release_reaches_a_server_that_then_needs_no_store(
    make_bundle, tmp_path: Path, free_ports
) -> None:
    home, root = tmp_path / "home", tmp_path / "pod"
    bundle = make_bundle(home / "bundles", 1.0)
    where = f"tiny/{bundle.digest}"
    with S3Server() as s3, KubernetesApi() as api:
        s3.connection("bundles/released")
        settings = Settings(home=home, connection_urls={"lake": url_of(s3)})
        server = model_server(settings, api)
        server.check("tiny", where, bundle.digest)
        assert server.status("tiny") is None
        status = server.load("tiny", version=3, epoch=5, bundle=where, digest=bundle.digest)
        assert status["loaded"]
        pods = api.cluster().find("Pod", {"app.kubernetes.io/instance": "main"})
        notes = {pod["metadata"]["annotations"]["ferryman/release"] for pod in pods}
        release = tmp_path / "release.json"
        release.write_text(notes.pop())
        assert not notes
        environment = {**os.environ, "FERRYMAN_CONNECTION_LAKE": url_of(s3)}
        places = ["--release", str(release), "--bundles", "lake", "--root", str(root)]
        command = [sys.executable, "-m", "ferryman.serving"]
        subprocess.run([*command, "fetch", *places], check=True, env=environment, timeout=60)
    shutil.rmtree(home)
    (port,) = free_ports(1)
    where_to = ["--root", str(root), "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen([*command, "standalone", *where_to]) as process:
        try:
            answer = ask_when_ready(f"http://127.0.0.1:{port}", bundle.rows[:3])
        finally:
            process.terminate()
    assert process.returncode == 0
    assert answer.json()["predictions"] == pytest.approx(bundle.outputs[:3], abs=1e-5)
    assert (answer.headers["x-model-version"], answer.headers["x-model-epoch"]) == ("3", "5")


def ask_when_ready(url: str, rows: list[dict[str, object]]) -> httpx.Response:
    end = time.monotonic() + 60
    with httpx.Client(base_url=url, trust_env=False) as client:
        while True:
            try:
                if client.get("/v2/health/ready").status_code == 200:
                    break
            except httpx.TransportError:
                assert time.monotonic() < end
            time.sleep(0.05)
        return client.post("/v1/models/tiny:predict", json={"instances": rows})


def test_a_check_finds_what_the_store_has_spoilt(make_bundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundles", 1.0)
    with S3Server() as s3, KubernetesApi() as api:
        s3.connection("bundles/released")
        settings = Settings(home=tmp_path, connection_urls={"lake": url_of(s3)})
        server = model_server(settings, api)
        key = f"released/tiny/{bundle.digest}/golden.json"
        size = (bundle.folder / "golden.json").stat().st_size
        s3.client().put_object(Bucket="bundles", Key=key, Body=b" " * size)
        with pytest.raises(IntegrityBroken, match="digest mismatch"):
            server.check("tiny", f"tiny/{bundle.digest}", bundle.digest)
        assert api.kinds() == []


def test_a_check_replays_golden_rows_in_a_process_of_its_own(make_bundle, tmp_path: Path) -> None:
    import json

    from ferryman.runtime.bundle import seal

    good = make_bundle(tmp_path / "bundles", 1.0)
    bad = tmp_path / "bundles" / "tiny" / "bad"
    shutil.copytree(good.folder, bad)
    golden = json.loads((bad / "golden.json").read_text())
    golden["outputs"][4] += 0.25
    (bad / "golden.json").write_text(json.dumps(golden))
    digest = seal(bad, model="tiny", task="binary", framework="sklearn").digest
    with S3Server() as s3, KubernetesApi() as api:
        s3.connection("bundles/released")
        settings = Settings(home=tmp_path, connection_urls={"lake": url_of(s3)})
        with pytest.raises(IntegrityBroken, match="golden row 4 scores"):
            model_server(settings, api).check("tiny", "tiny/bad", digest)
