"""A server's autoscaling rules as the cluster's own objects: an HPA, or KEDA's ScaledObject.

One of the two: a ScaledObject makes an HPA of its own, and two HPAs on one Deployment fight.
"""

from ferryman.deployment.autoscaling.figures import NO_PREDICTIONS
from ferryman.deployment.cluster.workload import Manifest, Workload
from ferryman.errors import SpecError
from ferryman.spec.servers import AutoscalingSpec, CpuRule, LatencyFeedback, RequestsRule

# What the cluster itself takes where nothing is said; older ones do not know the field.
_USUAL_TOLERANCE = 0.1
_LONGEST_WINDOW = 3_600  # seconds; the API takes no more
_RATE = "1m"
_LATENCY_WINDOW = "2m"
# Probes are requests, too.
_ASKED = f'route!~"{"|".join(NO_PREDICTIONS)}"'


def autoscaling_manifests(workload: Workload) -> list[Manifest]:
    """The object that scales the Deployment; none where nothing is declared."""
    autoscaling = workload.server.autoscaling
    if autoscaling is None:
        return []
    if all(isinstance(rule, CpuRule) for rule in autoscaling.rules):
        return [_pod_autoscaler(workload, autoscaling)]
    return [_scaled_object(workload, autoscaling)]


def prometheus_of(workload: Workload) -> str:
    """The Prometheus that KEDA asks; SpecError (exit 2) where none is declared."""
    address = workload.cluster.prometheus
    if address is None:
        raise SpecError(
            f"server {workload.name!r}: rules on requests and latency need a Prometheus",
            remedy="Give kubernetes.prometheus, such as http://prometheus.monitoring.svc:9090.",
        )
    return address


def requests_query(workload: Workload) -> str:
    """PromQL: predictions a second of the whole server; 0 where it is there and nobody asks."""
    pods, every = _pods(workload), f"[{_RATE}]))"
    asked = f"sum(rate(ferryman_requests_total{{{pods},{_ASKED}}}{every}"
    return f"{asked} or 0 * sum(rate(ferryman_requests_total{{{pods}}}{every}"


def latency_query(workload: Workload, rule: LatencyFeedback) -> str:
    """PromQL: the 95th percentile in milliseconds, told so that an HPA holds still in between.

    An HPA scales by the ratio of value and target. Above the target the value is the percentile
    itself; from `release` of the target up to it the target, so that nothing changes; below that
    the percentile as a share of the lower bound; without requests 0. Without any data there is no
    answer, and the count stays.
    """
    pods = _pods(workload)
    buckets = f"rate(ferryman_request_seconds_bucket{{{pods},{_ASKED}}}[{_LATENCY_WINDOW}])"
    p95 = f"1000 * histogram_quantile(0.95, sum by (le) ({buckets}))"
    idle = f"0 * sum(rate(ferryman_request_seconds_count{{{pods}}}[{_LATENCY_WINDOW}]))"
    low = _number(rule.p95_ms * rule.release)
    target = _number(rule.p95_ms)
    return (
        f"({p95} > {target}) or (({p95} < {low}) / {_number(rule.release)}) "
        f"or (0 * ({p95} >= 0) + {target}) or ({idle})"
    )


def behavior(autoscaling: AutoscalingSpec) -> Manifest:
    """How fast: at most twice as many a minute, fewer only once that was enough for long."""
    window = autoscaling.scale_down_after.total_seconds()
    if window > _LONGEST_WINDOW:
        raise SpecError(
            f"scale_down_after {window:.0f} s is more than a cluster takes",
            remedy=f"Give at most {_LONGEST_WINDOW} s.",
        )
    tolerance = (
        {}
        if autoscaling.tolerance == _USUAL_TOLERANCE
        else {"tolerance": _number(autoscaling.tolerance)}
    )
    doubling = [
        {"type": "Percent", "value": 100, "periodSeconds": 60},
        {"type": "Pods", "value": 2, "periodSeconds": 60},
    ]
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": doubling,
            **tolerance,
        },
        "scaleDown": {
            "stabilizationWindowSeconds": int(window),
            "selectPolicy": "Max",
            "policies": [{"type": "Percent", "value": 100, "periodSeconds": 60}],
            **tolerance,
        },
    }


def cpu_percent(rule: CpuRule) -> int:
    """The share of the requested CPU as a whole percentage, at least 1."""
    return max(1, round(rule.target * 100))


def _pod_autoscaler(workload: Workload, autoscaling: AutoscalingSpec) -> Manifest:
    metrics = [
        {
            "type": "Resource",
            "resource": {
                "name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": cpu_percent(rule)},
            },
        }
        for rule in autoscaling.rules
        if isinstance(rule, CpuRule)
    ]
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": workload.metadata(),
        "spec": {
            "scaleTargetRef": _target(workload),
            "minReplicas": autoscaling.min,
            "maxReplicas": autoscaling.max,
            "metrics": metrics,
            "behavior": behavior(autoscaling),
        },
    }


def _scaled_object(workload: Workload, autoscaling: AutoscalingSpec) -> Manifest:
    hpa = {"name": workload.name, "behavior": behavior(autoscaling)}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": workload.metadata(),
        "spec": {
            "scaleTargetRef": _target(workload),
            "minReplicaCount": autoscaling.min,
            "maxReplicaCount": autoscaling.max,
            "pollingInterval": 15,
            "advanced": {"horizontalPodAutoscalerConfig": hpa},
            "triggers": [_trigger(workload, rule) for rule in autoscaling.rules],
        },
    }


def _trigger(workload: Workload, rule: CpuRule | RequestsRule | LatencyFeedback) -> Manifest:
    if isinstance(rule, CpuRule):
        value = {"value": str(cpu_percent(rule))}
        return {"type": "cpu", "metricType": "Utilization", "metadata": value}
    if isinstance(rule, RequestsRule):
        query, threshold, kind = requests_query(workload), rule.per_replica, "AverageValue"
    else:
        query, threshold, kind = latency_query(workload, rule), rule.p95_ms, "Value"
    return {
        "type": "prometheus",
        "metricType": kind,
        "metadata": {
            "serverAddress": prometheus_of(workload),
            "query": query,
            "threshold": _number(threshold),
            # A Prometheus that has lost its targets is an error, not a load of nothing.
            "ignoreNullValues": "false",
        },
    }


def _target(workload: Workload) -> Manifest:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload.deployment}


def _pods(workload: Workload) -> str:
    """The server's pods alone: a server `main-2` is none of `main`."""
    pods = f"{workload.deployment}-[a-z0-9]+-[a-z0-9]{{5}}"
    return f'namespace="{workload.cluster.namespace}",pod=~"{pods}"'


def _number(value: float) -> str:
    """A number as a cluster's quantities and PromQL both read it: no exponent."""
    return f"{value:.6f}".rstrip("0").rstrip(".")
