"""A release goes to a server in a cluster by the same steps; the cluster here is played."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from release_world import Release, candidate, fill
from services.kubernetes_api import KubernetesApi
from services.s3_server import KEY, SECRET, S3Server

from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import State
from ferryman.settings import Settings
from ferryman.steps.reconcile import reconcile_all

SERVERS = {
    "spec_version": 1,
    "servers": {
        "main": {
            "place": "kubernetes",
            "replicas": 2,
            "kubernetes": {
                "image": "registry.example/ferryman@sha256:" + "a" * 64,
                "bundles": "lake",
                "url": "http://models.example:8600",
            },
        }
    },
}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesApi]:
    with KubernetesApi() as api:
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "played", "cluster": {"server": api.url}}],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [{"name": "here", "context": {"cluster": "played", "user": "nobody"}}],
            "current-context": "here",
        }
        file = tmp_path / "kubeconfig"
        file.write_text(yaml.safe_dump(kubeconfig))
        # The client reads KUBECONFIG once, when it is imported.
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(file))
        yield api


def test_stage_commit_and_reconcile(api: KubernetesApi, tmp_path: Path, make_bundle) -> None:
    with S3Server() as s3:
        s3.connection("bundles/released")
        lake = f"s3://{KEY}:{SECRET}@bundles/released?endpoint={s3.url}&region=us-east-1"
        settings = Settings(
            home=tmp_path / "home", zoo=tmp_path / "zoo", connection_urls={"lake": lake}
        )
        fill(settings, make_bundle)
        (settings.zoo / "servers.yaml").write_text(yaml.safe_dump(SERVERS))
        first = candidate(settings, 1, make_bundle)
        done = Release(settings, "first", first).run_all()
        served = {"epoch": 1, "version": 1, "served": "http://models.example:8600"}
        assert done.outputs == served
        head = Ledger(settings.ledger_url).head("tiny")
        assert head is not None and head.epoch == 1
        found = api.objects["configmaps", "main-release"]
        assert head.digest in found["data"]["release.json"]
        pods = [thing for (kind, _), thing in api.objects.items() if kind == "pods"]
        assert len(pods) == 2
        assert all(head.digest in str(pod["metadata"]["annotations"]) for pod in pods)
        assert Ledger(settings.ledger_url).ops("tiny")[-1].state is State.DONE
        api.asked.clear()
        assert reconcile_all(settings) == {"tiny": served}
        assert not [asked for asked in api.asked if not asked.startswith("GET")]
