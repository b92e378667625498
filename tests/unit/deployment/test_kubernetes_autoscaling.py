"""Rules become one object that scales, never two that fight."""

from typing import Any

import pytest
from test_kubernetes_manifests import made, workload

from ferryman.deployment.cluster.manifests import manifests
from ferryman.errors import SpecError


def kinds(found: Any) -> set[str]:
    return {manifest["kind"] for manifest in manifests(found)}


def test_a_declared_count_is_applied_where_nothing_scales() -> None:
    assert made("Deployment", workload(replicas=3))["spec"]["replicas"] == 3
    assert not kinds(workload()) & {"HorizontalPodAutoscaler", "ScaledObject"}


@pytest.mark.parametrize("rules", ["cpu", "requests", "all"])
def test_one_object_scales_and_the_count_is_its_own(rules: str) -> None:
    found = workload(rules)
    assert "replicas" not in made("Deployment", found)["spec"]
    scaling = kinds(found) & {"HorizontalPodAutoscaler", "ScaledObject"}
    assert scaling == ({"HorizontalPodAutoscaler"} if rules == "cpu" else {"ScaledObject"})


def test_the_cpu_rule_is_an_hpa() -> None:
    more = {"tolerance": 0.2, "scale_down_after": "10m"}
    spec = made("HorizontalPodAutoscaler", workload("cpu", more=more))["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 5)
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "main"}
    assert spec["metrics"][0]["resource"] == {
        "name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 60},
    }
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 600
    assert spec["behavior"]["scaleUp"]["tolerance"] == "0.2"


def test_the_usual_tolerance_is_not_written_for_clusters_that_do_not_know_it() -> None:
    behavior = made("HorizontalPodAutoscaler", workload("cpu"))["spec"]["behavior"]
    assert "tolerance" not in behavior["scaleUp"]


def test_rules_on_requests_and_latency_are_triggers_of_keda() -> None:
    spec = made("ScaledObject", workload("all"))["spec"]
    assert set(spec) == {
        "scaleTargetRef",
        "minReplicaCount",
        "maxReplicaCount",
        "pollingInterval",
        "advanced",
        "triggers",
    }
    requests, latency, cpu = spec["triggers"]
    assert (requests["type"], requests["metricType"]) == ("prometheus", "AverageValue")
    pods = 'namespace="ferryman",pod=~"main-[a-z0-9]+-[a-z0-9]{5}"'
    asked = 'route!~"labels|status|metadata|model_ready|server|live|ready|metrics|none"'
    assert requests["metadata"] == {
        "serverAddress": "http://prometheus.monitoring.svc:9090",
        "query": f"sum(rate(ferryman_requests_total{{{pods},{asked}}}[1m])) "
        f"or 0 * sum(rate(ferryman_requests_total{{{pods}}}[1m]))",
        "threshold": "50",
        "ignoreNullValues": "false",
    }
    assert (latency["metricType"], latency["metadata"]["threshold"]) == ("Value", "20")
    assert cpu == {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "60"}}
    assert "behavior" in spec["advanced"]["horizontalPodAutoscalerConfig"]


@pytest.mark.parametrize(
    ("rules", "scaler"), [("none", "none"), ("cpu", "hpa"), ("requests", "keda"), ("all", "keda")]
)
def test_kserve_scales_by_the_same_rules(rules: str, scaler: str) -> None:
    service = made("InferenceService", workload(rules, kind="kserve"))
    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == scaler
    predictor = service["spec"]["predictor"]
    bounds = (predictor["minReplicas"], predictor["maxReplicas"])
    assert bounds == ((1, 1) if rules == "none" else (2, 5))
    if scaler == "hpa":
        assert (predictor["scaleMetric"], predictor["scaleTarget"]) == ("cpu", 60)
    metrics = predictor.get("autoScaling", {}).get("metrics", [])
    assert [metric["type"] for metric in metrics] == {
        "requests": ["External"],
        "all": ["External", "External", "Resource"],
    }.get(rules, [])
    if rules == "all":
        assert metrics[1]["external"]["target"] == {"type": "Value", "value": "20"}
        assert metrics[1]["external"]["metric"]["backend"] == "prometheus"
    assert not kinds(workload(rules, kind="kserve")) & {"HorizontalPodAutoscaler", "ScaledObject"}


@pytest.mark.parametrize("kind", ["deployment", "kserve"])
def test_without_a_prometheus_nothing_can_ask_for_requests(kind: str) -> None:
    found = workload("requests", kind=kind)
    bare = found.server.model_copy(
        update={"kubernetes": found.cluster.model_copy(update={"prometheus": None})}
    )
    with pytest.raises(SpecError, match="need a Prometheus"):
        manifests(type(found)("main", bare, found.bundles))


def test_a_window_that_no_cluster_takes_is_refused() -> None:
    with pytest.raises(SpecError, match="more than a cluster takes"):
        manifests(workload("cpu", more={"scale_down_after": "2h"}))
