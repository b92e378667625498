"""Labels that were accepted outlive their container, and the pod that was told to end."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from services.cluster_world import server_spec
from services.s3_server import KEY, SECRET, S3Server
from serving_containers import containers_of, load_model, server_of
from test_pod_in_containers import run

from ferryman.deployment.cluster.kubernetes_deployer import declared_workload
from ferryman.deployment.cluster.pod import pod_spec
from ferryman.deployment.cluster.workload import PORT, RELEASE_NOTE
from ferryman.deployment.container.container_deployer import ContainerDeployer
from ferryman.runtime.bundle_store import ReleasedModel, upload_bundle
from ferryman.runtime.data_store import open_object_store
from ferryman.runtime.endpoints import main_endpoint
from ferryman.runtime.label_token import make_label_token
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.serving.client import ServingClient
from ferryman.serving.labels.label_reading import read_posted
from ferryman.settings import Settings
from ferryman.spec.serving import MAIN
from ferryman.spec.windows import Window


@pytest.fixture
def settings(tmp_path: Path, free_ports: Any) -> Settings:
    port, admin_port = free_ports(2)
    return Settings(home=tmp_path / "home", serving_port=port, serving_admin_port=admin_port)


@pytest.fixture
def deployer(settings: Settings, image: str) -> Iterator[ContainerDeployer]:
    made = ContainerDeployer(settings, MAIN, server_of(image))
    yield made
    made.stop()


def labels_in(place: Any) -> list[str]:
    """The keys of the labels of `tiny` that came within the last hour."""
    now = datetime.now(UTC)
    window = Window(start=now - timedelta(hours=1), end=now + timedelta(minutes=1))
    rows, strange = read_posted([place], "tiny", window, "binary")
    assert strange == 0
    return sorted(rows["entity_key"].to_pylist())


def until_labels(place: Any, wanted: list[str]) -> None:
    deadline = time.monotonic() + 60
    while labels_in(place) != wanted:
        assert time.monotonic() < deadline, labels_in(place)
        time.sleep(0.2)


def test_what_a_killed_container_has_accepted_is_read(
    deployer: ContainerDeployer, settings: Settings, client: Any, make_bundle: Any
) -> None:
    deployer.start()
    load_model(settings, make_bundle(settings.bundles_root))
    with ServingClient(main_endpoint(settings)) as asking:
        rows = [{"entity_key": key, "label": True} for key in "ab"]
        assert asking.post_labels("tiny", rows)["accepted"] == 2
    (killed,) = containers_of(client, deployer).values()
    client.api.kill(killed)
    deployer.start()
    with ServingClient(main_endpoint(settings)) as asking:
        assert asking.post_labels("tiny", [{"entity_key": "c", "label": None}])["accepted"] == 1
    deployer.stop()
    until_labels(LocalObjectStore(settings.predictions_root), ["a", "b", "c"])


def test_a_pod_keeps_labels_over_a_kill_and_brings_them_away_when_it_ends(
    client: Any, image: str, make_bundle: Any, tmp_path: Path, free_ports: Any
) -> None:
    bundle, volumes = make_bundle(tmp_path / "bundles", 1.0), tmp_path / "volumes"
    (volumes / "notes").mkdir(parents=True)
    started: list[Any] = []
    with S3Server() as s3:
        s3.connection("lake/all")
        lake = f"s3://{KEY}:{SECRET}@lake/all?endpoint={s3.url}&region=us-east-1"
        settings = Settings(
            home=tmp_path, connection_urls={"lake": lake}, predictions_connection="lake"
        )
        make_label_token(settings.server_root("main"))
        token = (settings.server_root("main") / "labels.token").read_text().strip()
        workload = declared_workload(settings, "main", server_spec(image=image))
        key, _ = upload_bundle(open_object_store(workload.bundles), bundle.folder)
        one = ReleasedModel(version=3, epoch=5, digest=bundle.digest, bundle=key)
        workload = replace(workload, release={"tiny": one})
        (volumes / "notes" / "release.json").write_text(workload.notes[RELEASE_NOTE])
        pod, (port,) = pod_spec(workload), free_ports(1)
        server = pod["containers"][0]
        # The store of this test listens on this machine's own address alone.
        own = [str(port) if part == str(PORT) else part for part in server["args"]]
        server = {**server, "args": own}
        url = f"http://127.0.0.1:{port}"
        try:
            started.append(run(client, pod["initContainers"][0], volumes, lake, "host"))
            assert started[0].wait(timeout=60)["StatusCode"] == 0, started[0].logs()
            for label in "ab":
                started.append(run(client, server, volumes, lake, "host"))
                wait_until_ready(url, started[-1])
                body = {"model": "tiny", "labels": [{"entity_key": label, "label": 1}]}
                asked = {"url": f"{url}/v1/labels", "json": body}
                assert httpx.post(**asked, trust_env=False).status_code == 401
                bearer = {"authorization": f"Bearer {token}"}
                answer = httpx.post(**asked, headers=bearer, trust_env=False)
                assert answer.status_code == 200, answer.text
                if label == "a":  # its pod's folders stay where a container is started again
                    started[-1].kill()
            started[-1].stop(timeout=75)
            assert started[-1].wait(timeout=10)["StatusCode"] == 0, started[-1].logs()
            assert workload.predictions is not None
            assert labels_in(open_object_store(workload.predictions)) == ["a", "b"]
        finally:
            for container in started:
                container.remove(force=True)


def wait_until_ready(url: str, container: Any) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if httpx.get(f"{url}/v2/health/ready", trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            assert time.monotonic() < deadline, container.logs()
        time.sleep(0.05)
