"""A namespace of its own in the cluster of KUBECONFIG, for `make test-cluster`.

The cluster is a control plane without nodes (etcd, kube-apiserver, kube-controller-manager), with
the custom resources of KEDA and KServe: what nodes would say of pods is played, all else is real.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import config
from kubernetes.client import ApiClient, CoreV1Api, V1Namespace, V1ObjectMeta
from services.cluster_world import ClusterWorld, Patience, settings_in
from services.played_node import PlayedNode
from small_bundles import _small_bundles, free_ports, make_bundle

from ferryman.deployment.cluster.connection import Cluster

__all__ = ["_small_bundles", "free_ports", "make_bundle"]


@pytest.fixture(scope="session")
def api() -> ApiClient:
    try:
        found = config.new_client_from_config()
    except config.ConfigException as error:
        how = "set KUBECONFIG to that of a control plane without nodes, then `make test-cluster`"
        pytest.fail(f"no cluster: {how} ({error})", pytrace=False)
    nodes = CoreV1Api(found).list_node().items
    assert not nodes, "these tests play the nodes: use a control plane that has none"
    return found


@pytest.fixture
def namespace(api: ApiClient) -> Iterator[str]:
    core, name = CoreV1Api(api), f"ferryman-{uuid.uuid4().hex[:8]}"
    core.create_namespace(V1Namespace(metadata=V1ObjectMeta(name=name)))
    yield name
    core.delete_namespace(name)


@pytest.fixture
def node(api: ApiClient, namespace: str) -> Iterator[PlayedNode]:
    with PlayedNode(api, namespace) as node:
        yield node


@pytest.fixture
def world(api: ApiClient, namespace: str, node: PlayedNode, tmp_path: Path) -> ClusterWorld:
    def set_fate(fate) -> None:
        node.fate = fate

    patience = Patience(rollout=60, trouble=1, stop=60, pause=0.1)
    return ClusterWorld(settings_in(tmp_path), Cluster(api, namespace), set_fate, patience)
