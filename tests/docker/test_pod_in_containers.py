"""A pod's two containers, as the manifest says them, run by a Docker engine from the real image."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from services.cluster_world import server_spec
from services.s3_server import KEY, SECRET, S3Server

from ferryman.deployment.cluster.kubernetes_deployer import declared_workload
from ferryman.deployment.cluster.pod import pod_spec
from ferryman.deployment.cluster.workload import PORT, RELEASE_NOTE
from ferryman.runtime.bundle_store import ReleasedModel, upload_bundle
from ferryman.runtime.data_store import open_object_store
from ferryman.settings import Settings

POD = "main-6c87fcb58c-zpv46"


def run(client: Any, container: dict[str, Any], volumes: Path, secret: str, network: str) -> Any:
    """Start a container of a pod: its user, its limits, its mounts, its environment."""
    mounts = {}
    for mount in container["volumeMounts"]:
        folder = volumes / mount["name"]
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
        mode = "ro" if mount.get("readOnly") else "rw"
        mounts[str(folder)] = {"bind": mount["mountPath"], "mode": mode}
    environment = {
        one["name"]: one.get("value", secret if "secretKeyRef" in one.get("valueFrom", {}) else POD)
        for one in container["env"]
    }
    rights = container["securityContext"]
    return client.containers.run(
        container["image"],
        [argument.replace("$(POD_NAME)", POD) for argument in container["args"]],
        detach=True,
        user="10001:10001",
        read_only=rights["readOnlyRootFilesystem"],
        cap_drop=rights["capabilities"]["drop"],
        security_opt=["no-new-privileges"],
        mem_limit=container["resources"]["limits"]["memory"].removesuffix("i").lower(),
        network_mode=network,
        environment=environment,
        volumes=mounts,
    )


def address_when_ready(container: Any) -> str:
    end = time.monotonic() + 60
    while True:
        container.reload()
        networks = container.attrs["NetworkSettings"]["Networks"].values()
        url = f"http://{next(iter(networks))['IPAddress']}:{PORT}"
        try:
            if httpx.get(f"{url}/v2/health/ready", trust_env=False).status_code == 200:
                return url
        except httpx.HTTPError:
            assert time.monotonic() < end, container.logs()
        time.sleep(0.05)


def test_fetch_then_serve_with_the_store_gone(
    client: Any, image: str, make_bundle, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "bundles", 1.0)
    volumes = tmp_path / "volumes"
    (volumes / "notes").mkdir(parents=True)
    started: list[Any] = []
    try:
        with S3Server() as s3:
            s3.connection("bundles/released")
            lake = f"s3://{KEY}:{SECRET}@bundles/released?endpoint={s3.url}&region=us-east-1"
            settings = Settings(home=tmp_path, connection_urls={"lake": lake})
            workload = declared_workload(settings, "main", server_spec(image=image))
            key, _ = upload_bundle(open_object_store(workload.bundles), bundle.folder)
            one = ReleasedModel(version=3, epoch=5, digest=bundle.digest, bundle=key)
            workload = replace(workload, release={"tiny": one})
            (volumes / "notes" / "release.json").write_text(workload.notes[RELEASE_NOTE])
            pod = pod_spec(workload)
            # The store of this test listens on this machine's own address alone.
            started.append(run(client, pod["initContainers"][0], volumes, lake, "host"))
            ended = started[0].wait(timeout=60)
            assert ended["StatusCode"] == 0, started[0].logs()
        started.append(run(client, pod["containers"][0], volumes, "", "bridge"))
        url = address_when_ready(started[1])
        asked = {"instances": bundle.rows[:3]}
        answer = httpx.post(f"{url}/v1/models/tiny:predict", json=asked, trust_env=False)
        assert answer.json()["predictions"] == pytest.approx(bundle.outputs[:3], abs=1e-5)
        assert answer.headers["x-model-epoch"] == "5"
        assert f'replica="{POD}"' in httpx.get(f"{url}/metrics", trust_env=False).text
        started[1].stop(timeout=40)
        assert started[1].wait(timeout=10)["StatusCode"] == 0, started[1].logs()
        assert list((volumes / "predictions" / "tiny").rglob("*.parquet"))
    finally:
        for container in started:
            container.remove(force=True)
