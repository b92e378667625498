"""The example's role is enough for a server's whole life, and without it the refusal is told."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from kubernetes import client
from services import cluster_scenarios as scenarios
from services.cluster_world import ClusterWorld

from ferryman.deployment.cluster.connection import Cluster
from ferryman.errors import PolicyRefused

ROLE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "role.yaml"


@pytest.fixture
def account(api: client.ApiClient, namespace: str) -> Iterator[Cluster]:
    """A namespace as an account of its own sees it, which may do nothing yet."""
    core = client.CoreV1Api(api)
    core.create_namespaced_service_account(namespace, {"metadata": {"name": "releases"}})
    token = core.create_namespaced_service_account_token("releases", namespace, {"spec": {}})
    known = api.configuration
    own = client.Configuration(host=known.host)
    own.ssl_ca_cert = known.ssl_ca_cert
    own.api_key = {"BearerToken": f"Bearer {token.status.token}"}
    with client.ApiClient(own) as entered:
        yield Cluster(entered, namespace)


@pytest.fixture
def allow(api: client.ApiClient, namespace: str) -> Callable[[], None]:
    def bind() -> None:
        rights = client.RbacAuthorizationV1Api(api)
        role = yaml.safe_load(ROLE.read_text())
        role["metadata"]["namespace"] = namespace
        rights.create_namespaced_role(namespace, role)
        name = role["metadata"]["name"]
        subject = {"kind": "ServiceAccount", "name": "releases", "namespace": namespace}
        rights.create_namespaced_role_binding(
            namespace,
            {
                "metadata": {"name": name},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "Role",
                    "name": name,
                },
                "subjects": [subject],
            },
        )

    return bind


def wait_until_heard(account: Cluster) -> None:
    """An API server hears of new rights a moment later."""
    end = time.monotonic() + 20
    while True:
        try:
            account.get("ConfigMap", "main-release")
            return
        except PolicyRefused:
            assert time.monotonic() < end
            time.sleep(0.1)


def test_the_role_is_enough(
    account: Cluster, world: ClusterWorld, allow: Callable[[], None], make_bundle
) -> None:
    world.cluster = account
    with pytest.raises(PolicyRefused, match="forbids GET of ConfigMap"):
        world.deployer().start()
    allow()
    wait_until_heard(account)
    scenarios.releases_follow_one_another(world, make_bundle)
    scaled = {"max": 4, "rules": [{"kind": "cpu"}]}
    assert world.deployer(autoscaling=scaled).start().state == "ready"
    assert world.deployer().scale(1).wanted == 1
    assert world.deployer().stop().state == "stopped"
