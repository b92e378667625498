"""What a cluster would be asked to keep: valid, hardened, the same for the same declaration."""

import itertools
import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from services.cluster_world import IMAGE, server_spec, settings_in

from ferryman.deployment.cluster.kubernetes_deployer import declared_url, declared_workload
from ferryman.deployment.cluster.manifests import manifests
from ferryman.deployment.cluster.workload import Workload
from ferryman.errors import SpecError
from ferryman.runtime.bundle_store import ReleasedModel
from ferryman.runtime.connection_url import parse_connection

DIGEST = "b" * 64
CPU = {"kind": "cpu", "target": 0.6}
REQUESTS = {"kind": "requests", "per_replica": 50}
LATENCY = {"kind": "latency", "p95_ms": 20, "release": 0.5}
RULES = {"none": [], "cpu": [CPU], "requests": [REQUESTS], "all": [REQUESTS, LATENCY, CPU]}
# Of the custom resources no schema is kept here; tests/cluster applies them to their definitions.
CUSTOM = {"ScaledObject", "ServiceMonitor", "InferenceService"}
# The newest schema for all, the oldest for what has the most fields: schemas are slow to read.
COMBINATIONS = [
    *itertools.product(("deployment", "kserve"), RULES, ["1.37.0"]),
    ("deployment", "cpu", "1.33.0"),
]
RESOURCES = {"cpu": 2.5, "memory": "3Gi", "gpu": 1}


def workload(rules: str = "none", **spec: Any) -> Workload:
    if RULES[rules]:
        spec["autoscaling"] = {"min": 2, "max": 5, "rules": RULES[rules], **spec.pop("more", {})}
        spec |= {"replicas": 2, "prometheus": "http://prometheus.monitoring.svc:9090"}
    release = {"tiny": ReleasedModel(version=3, epoch=4, digest=DIGEST, bundle=f"tiny/{DIGEST}")}
    lake = parse_connection("the_lake", "s3://key:pass-of-lake@b/p?endpoint=http://10.1.2.3:9000")
    return Workload("main", server_spec(**spec), lake, release)


def made(kind: str, found: Workload) -> dict[str, Any]:
    (one,) = [manifest for manifest in manifests(found) if manifest["kind"] == kind]
    return one


def pod_of(found: Workload) -> dict[str, Any]:
    if found.cluster.kind == "kserve":
        predictor: dict[str, Any] = made("InferenceService", found)["spec"]["predictor"]
        return predictor
    spec: dict[str, Any] = made("Deployment", found)["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize(("kind", "rules", "version"), COMBINATIONS)
def test_every_combination_is_valid(kind: str, rules: str, version: str) -> None:
    found = manifests(workload(rules, kind=kind, monitor=True, resources=RESOURCES))
    for manifest in found:
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)
        assert manifest["metadata"]["namespace"] == "ferryman"
        assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == "main"
    names = [(one["kind"], one["metadata"]["name"]) for one in found]
    assert len(set(names)) == len(names)
    assert found == manifests(workload(rules, kind=kind, monitor=True, resources=RESOURCES))


@pytest.mark.parametrize("kind", ["deployment", "kserve"])
def test_pods_may_do_nothing_but_serve(kind: str) -> None:
    pod = pod_of(workload(kind=kind))
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*pod["initContainers"], *pod["containers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["image"] == IMAGE
        assert container["resources"]["requests"] == container["resources"]["limits"]
    state, predictions, scratch, notes = pod["containers"][0]["volumeMounts"]
    assert state["mountPath"] == "/var/lib/ferryman" and notes["readOnly"]
    assert predictions["mountPath"] == "/var/lib/ferryman/predictions"
    volumes = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
    assert volumes == {mount["name"] for mount in (state, predictions, scratch)}
    assert made("ServiceAccount", workload(kind=kind))["automountServiceAccountToken"] is False


def test_resources_are_those_of_one_replica() -> None:
    fetch, server = (
        pod_of(workload(resources=RESOURCES))[key][0] for key in ("initContainers", "containers")
    )
    assert server["resources"]["limits"] == {
        "cpu": "2500m",
        "memory": "3Gi",
        "nvidia.com/gpu": "1",
    }
    assert "nvidia.com/gpu" not in fetch["resources"]["limits"]
    assert {"name": "OMP_NUM_THREADS", "value": "2"} in server["env"]
    assert server["args"][server["args"].index("--threads") + 1] == "2"


def test_a_release_is_a_rolling_update_that_drops_nothing() -> None:
    found = workload()
    deployment = made("Deployment", found)["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    note = deployment["template"]["metadata"]["annotations"]["ferryman/release"]
    assert json.loads(note) == {
        "tiny": {"version": 3, "epoch": 4, "digest": DIGEST, "bundle": f"tiny/{DIGEST}"}
    }
    server = deployment["template"]["spec"]["containers"][0]
    leave = server["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert leave < deployment["template"]["spec"]["terminationGracePeriodSeconds"]
    assert server["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert server["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"
    assert json.loads(made("ConfigMap", found)["data"]["release.json"]).keys() == {"tiny"}


def test_secrets_are_named_and_never_written() -> None:
    for kind in ("deployment", "kserve"):
        text = json.dumps(manifests(workload(kind=kind)))
        assert "pass-of-lake" not in text and "key:" not in text
    environment = pod_of(workload())["initContainers"][0]["env"]
    (lake,) = [one for one in environment if one["name"] == "FERRYMAN_CONNECTION_THE_LAKE"]
    assert lake["valueFrom"] == {
        "secretKeyRef": {"name": "ferryman-connection-the-lake", "key": "url"}
    }


def test_a_store_without_a_password_needs_no_secret() -> None:
    lake = parse_connection("lake", "s3://bucket/p?region=eu-central-1")
    found = Workload("main", server_spec(), lake)
    environment = pod_of(found)["initContainers"][0]["env"]
    assert environment[-1] == {
        "name": "FERRYMAN_CONNECTION_LAKE",
        "value": "s3://bucket/p?region=eu-central-1",
    }
    egress = made("NetworkPolicy", found)["spec"]["egress"]
    assert egress[1:] == [{"ports": [{"protocol": "TCP", "port": 443}]}]


def test_only_the_port_comes_in_and_only_names_and_stores_go_out() -> None:
    policy = made("NetworkPolicy", workload())["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == [{"ports": [{"protocol": "TCP", "port": 8600}]}]
    assert [port["port"] for port in policy["egress"][0]["ports"]] == [53, 53]
    (store,) = policy["egress"][1:]
    assert store == {
        "ports": [{"protocol": "TCP", "port": 9000}],
        "to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}],
    }


def test_a_folder_is_no_store_for_pods() -> None:
    found = Workload("main", server_spec(), parse_connection("lake", "file:///mnt/bundles"))
    with pytest.raises(SpecError, match="no pod reaches"):
        manifests(found)


def test_the_prediction_log_goes_where_this_installation_reads_it(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, predictions_connection="lake")
    server = pod_of(declared_workload(settings, "main", server_spec()))["containers"][0]
    assert "--upload" in server["args"]
    names = [one["name"] for one in server["env"]]
    assert {"FERRYMAN_PREDICTIONS_CONNECTION", "FERRYMAN_CONNECTION_LAKE"} <= set(names)
    assert "--upload" not in pod_of(workload())["containers"][0]["args"]


def test_the_public_key_goes_along_and_is_asked_for(tmp_path: Path) -> None:
    key = tmp_path / "signing.pub"
    key.write_text("-----BEGIN PUBLIC KEY-----\n")
    settings = settings_in(tmp_path, signing_public_key=key)
    found = declared_workload(settings, "main", server_spec())
    template = made("Deployment", found)["spec"]["template"]
    assert template["metadata"]["annotations"]["ferryman/signing-public-key"] == key.read_text()
    fetch, server = (template["spec"][key][0] for key in ("initContainers", "containers"))
    variable = {"name": "FERRYMAN_SIGNING_PUBLIC_KEY", "value": "/etc/ferryman/signing.pub"}
    assert variable in fetch["env"] and "--public-key" in server["args"]


@pytest.mark.parametrize(
    ("spec", "url"),
    [
        ({}, "http://main.ferryman.svc:8600"),
        ({"kind": "kserve", "namespace": "ml"}, "http://main-predictor.ml.svc"),
        ({"url": "https://models.example/"}, "https://models.example"),
    ],
)
def test_where_clients_reach_it(spec: dict[str, Any], url: str) -> None:
    assert declared_url("main", server_spec(**spec)) == url
