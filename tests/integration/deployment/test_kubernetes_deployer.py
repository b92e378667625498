"""Servers in a played cluster: their life, their releases, and what may go wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from services import cluster_scenarios as scenarios
from services.cluster_world import ClusterWorld, settings_in
from services.json_api import JsonApi, status
from services.kubernetes_api import KubernetesApi

from ferryman.deployment.cluster.connection import Cluster, connect
from ferryman.deployment.cluster.kubernetes_deployer import declared_workload
from ferryman.errors import DependencyUnavailable, PolicyRefused, SpecError
from ferryman.spec.servers import ServerSpec


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    with KubernetesApi() as api:
        yield api


@pytest.fixture
def world(api: KubernetesApi, tmp_path: Path) -> ClusterWorld:
    def set_fate(fate) -> None:
        api.fate = fate

    return ClusterWorld(settings_in(tmp_path), api.cluster(), set_fate)


@pytest.mark.parametrize("scenario", scenarios.OF_A_SERVER, ids=lambda one: one.__name__)
def test_scenario(scenario, world: ClusterWorld) -> None:
    scenario(world)


@pytest.mark.parametrize("scenario", scenarios.OF_RELEASES, ids=lambda one: one.__name__)
def test_release_scenario(scenario, world: ClusterWorld, make_bundle) -> None:
    scenario(world, make_bundle)


def test_an_inference_service_is_followed_through_what_kserve_makes_of_it(
    world: ClusterWorld, api: KubernetesApi, make_bundle
) -> None:
    bundle = make_bundle(world.settings.bundles_root, 1.0)
    deployed = world.deployer(kind="kserve", replicas=2).start()
    assert (deployed.state, len(deployed.replicas)) == ("ready", 2)
    assert scenarios.release(world, bundle, 1, kind="kserve", replicas=2)["loaded"]
    # What KServe made bears our labels, but is not ours to remove.
    assert "deployments/main-predictor" in api.kinds()
    world.deployer(kind="kserve", replicas=2).stop()
    assert api.kinds() == ["configmaps/main-release"]


def test_stop_leaves_other_servers_alone(world: ClusterWorld, api: KubernetesApi) -> None:
    world.deployer("other").start()
    before = api.kinds()
    world.deployer("main").start()
    world.deployer("main").stop()
    assert api.kinds() == sorted([*before, "configmaps/main-release"])


def test_a_server_that_does_not_run_is_not_scaled(world: ClusterWorld) -> None:
    with pytest.raises(DependencyUnavailable, match="does not run"):
        world.deployer().scale(2)


@pytest.mark.parametrize(
    ("fault", "error", "text"),
    [
        ((403, 'User "weak" cannot patch'), PolicyRefused, "forbids GET.*cannot patch"),
        ((401, "Unauthorized"), PolicyRefused, "forbids"),
        ((503, "etcd is away"), DependencyUnavailable, "answered 503.*etcd is away"),
    ],
)
def test_what_the_cluster_answers_is_told(
    world: ClusterWorld, api: KubernetesApi, fault, error, text: str
) -> None:
    api.faults.append(fault)
    with pytest.raises(error, match=text):
        world.deployer().start()


def test_a_missing_namespace_and_a_missing_kind_are_told_apart(
    world: ClusterWorld, api: KubernetesApi
) -> None:
    world.cluster.namespace = "nowhere"
    with pytest.raises(SpecError, match='namespaces "nowhere" not found'):
        world.deployer().start()
    world.cluster.namespace = "ferryman"
    api.unknown |= {"scaledobjects", "inferenceservices"}
    rules = [{"kind": "requests", "per_replica": 50}]
    scaled = {"max": 4, "rules": rules}
    with pytest.raises(SpecError, match="no ScaledObject: it comes with KEDA"):
        world.deployer(autoscaling=scaled, prometheus="http://prometheus:9090").start()
    with pytest.raises(SpecError, match="no InferenceService: it comes with KServe"):
        world.deployer(kind="kserve").start()


def test_a_cluster_that_is_away_is_told_in_bounded_time(world: ClusterWorld, free_ports) -> None:
    from kubernetes.client import ApiClient, Configuration

    (port,) = free_ports(1)
    away = Cluster(ApiClient(Configuration(host=f"http://127.0.0.1:{port}")), "ferryman")
    with pytest.raises(DependencyUnavailable, match="does not answer"):
        away.get("Deployment", "main")


def test_what_is_no_cluster_has_no_objects_to_miss() -> None:
    """A proxy's 404 must not read as if the server were not deployed."""
    from kubernetes.client import ApiClient, Configuration

    with JsonApi(always=status(404)) as stranger:
        cluster = Cluster(ApiClient(Configuration(host=stranger.url)), "ferryman")
        with pytest.raises(DependencyUnavailable, match=r"is no cluster \(status 404\)"):
            cluster.get("Deployment", "main")


def test_without_a_way_to_a_cluster(tmp_path: Path) -> None:
    spec = {"image": "sha256:" + "a" * 64, "bundles": "lake", "context": "no-such-context"}
    server = ServerSpec.model_validate({"place": "kubernetes", "kubernetes": spec})
    workload = declared_workload(settings_in(tmp_path), "main", server)
    with pytest.raises(DependencyUnavailable, match="no way to a cluster"):
        connect(workload.cluster)


def test_a_server_of_another_place_is_no_workload(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="its place is process"):
        declared_workload(settings_in(tmp_path), "main", ServerSpec())
