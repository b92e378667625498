"""The same server as a KServe InferenceService: the predictor is our image.

In KServe's standard mode, which makes a plain Deployment: init containers, several volumes and no
scaling to nothing. Applied to KServe 0.15 and later, whose `autoScaling` asks Prometheus by KEDA.
"""

from ferryman.deployment.cluster.autoscaling import (
    cpu_percent,
    latency_query,
    prometheus_of,
    requests_query,
)
from ferryman.deployment.cluster.pod import pod_spec
from ferryman.deployment.cluster.workload import PORT, Manifest, Workload
from ferryman.spec.servers import AutoscalingSpec, CpuRule, LatencyFeedback, RequestsRule


def inference_service(workload: Workload) -> Manifest:
    """The InferenceService; KServe makes Deployment, Service and what scales them of it."""
    annotations = {
        # The name that KServe 0.16 calls `Standard`, and still knows.
        "serving.kserve.io/deploymentMode": "RawDeployment",
        "serving.kserve.io/autoscalerClass": _autoscaler(workload.server.autoscaling),
    }
    if workload.cluster.monitor:
        annotations |= {
            "serving.kserve.io/enable-prometheus-scraping": "true",
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(PORT),
            "prometheus.io/path": "/metrics",
        }
    predictor = {
        "labels": dict(workload.labels),
        "annotations": dict(workload.notes),
        **_scaling(workload),
        "deploymentStrategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
        },
        **_predictor_pod(workload),
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": workload.metadata(annotations=annotations),
        "spec": {"predictor": predictor},
    }


def _predictor_pod(workload: Workload) -> Manifest:
    """The pod's fields stand in the predictor itself; its container bears KServe's own name."""
    pod = pod_spec(workload)
    (server,) = pod["containers"]
    return {**pod, "containers": [{**server, "name": "kserve-container"}]}


def _autoscaler(autoscaling: AutoscalingSpec | None) -> str:
    if autoscaling is None:
        return "none"
    only_cpu = all(isinstance(rule, CpuRule) for rule in autoscaling.rules)
    return "hpa" if only_cpu else "keda"


def _scaling(workload: Workload) -> Manifest:
    autoscaling = workload.server.autoscaling
    if autoscaling is None:
        return {"minReplicas": workload.count, "maxReplicas": workload.count}
    bounds = {"minReplicas": autoscaling.min, "maxReplicas": autoscaling.max}
    first = autoscaling.rules[0]
    if _autoscaler(autoscaling) == "hpa" and isinstance(first, CpuRule):
        return {**bounds, "scaleMetric": "cpu", "scaleTarget": cpu_percent(first)}
    return {
        **bounds,
        "autoScaling": {"metrics": [_metric(workload, rule) for rule in autoscaling.rules]},
    }


def _metric(workload: Workload, rule: CpuRule | RequestsRule | LatencyFeedback) -> Manifest:
    if isinstance(rule, CpuRule):
        target: Manifest = {"type": "Utilization", "averageUtilization": cpu_percent(rule)}
        return {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    if isinstance(rule, RequestsRule):
        query = requests_query(workload)
        target = {"type": "AverageValue", "averageValue": f"{rule.per_replica:g}"}
    else:
        query = latency_query(workload, rule)
        target = {"type": "Value", "value": f"{rule.p95_ms:g}"}
    asked = {
        "backend": "prometheus",
        "serverAddress": prometheus_of(workload),
        "query": query,
    }
    return {"type": "External", "external": {"metric": asked, "target": target}}
