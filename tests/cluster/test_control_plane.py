"""The same scenarios as in the played cluster, on a real API server with its real controllers."""

import pytest
from kubernetes.client import ApiClient
from services import cluster_scenarios as scenarios
from services.cluster_world import ClusterWorld, server_spec

from ferryman.deployment.cluster.connection import Cluster
from ferryman.deployment.cluster.kubernetes_deployer import declared_workload
from ferryman.deployment.cluster.manifests import manifests
from ferryman.errors import SpecError

RULES = [{"kind": "requests", "per_replica": 50}, {"kind": "latency", "p95_ms": 20}]


@pytest.mark.parametrize("scenario", scenarios.OF_A_SERVER, ids=lambda one: one.__name__)
def test_scenario(scenario, world: ClusterWorld) -> None:
    scenario(world)


@pytest.mark.parametrize("scenario", scenarios.OF_RELEASES, ids=lambda one: one.__name__)
def test_release_scenario(scenario, world: ClusterWorld, make_bundle) -> None:
    scenario(world, make_bundle)


def test_custom_resources_are_accepted_field_by_field(world: ClusterWorld) -> None:
    """The API server refuses a field that the definition does not know."""
    autoscaling = {"max": 4, "rules": RULES, "tolerance": 0.2}
    for kind, custom in (("deployment", "ScaledObject"), ("kserve", "InferenceService")):
        spec = server_spec(
            kind=kind,
            namespace=world.cluster.namespace,
            prometheus="http://prometheus:9090",
            autoscaling=autoscaling,
        )
        workload = declared_workload(world.settings, kind, spec)
        for manifest in manifests(workload):
            world.cluster.apply(manifest)
        found = world.cluster.get(custom, kind)
        assert found is not None
        wrong = next(one for one in manifests(workload) if one["kind"] == custom)
        wrong["spec"]["minimum"] = 1
        with pytest.raises(SpecError, match="minimum"):
            world.cluster.apply(wrong)


def test_a_missing_namespace_is_told(api: ApiClient, world: ClusterWorld) -> None:
    world.cluster = Cluster(api, "nowhere")
    with pytest.raises(SpecError, match=r"not found"):
        world.deployer().start()
