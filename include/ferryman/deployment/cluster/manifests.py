"""The manifests of a server in a cluster: the same declaration and release, the same text."""

import ipaddress

from ferryman.deployment.cluster.autoscaling import autoscaling_manifests
from ferryman.deployment.cluster.inference_service import inference_service
from ferryman.deployment.cluster.pod import pod_template
from ferryman.deployment.cluster.workload import (
    PORT,
    Manifest,
    Workload,
    connection_address,
    state_manifest,
)
from ferryman.runtime.connections import Connection

_DNS = 53


def manifests(workload: Workload) -> list[Manifest]:
    """Everything that a cluster is asked to keep, in the order in which it is applied.

    Raises SpecError (exit 2) for a declaration that a cluster cannot follow.
    """
    around = [
        state_manifest(workload),
        _service_account(workload),
        _network_policy(workload),
        _disruption_budget(workload),
    ]
    if workload.cluster.kind == "kserve":
        return [*around, inference_service(workload)]
    served = [_service(workload), _deployment(workload), *autoscaling_manifests(workload)]
    return [*around, *served, *_monitors(workload)]


def _service_account(workload: Workload) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": workload.metadata(),
        "automountServiceAccountToken": False,
    }


def _deployment(workload: Workload) -> Manifest:
    spec: Manifest = {
        "selector": {"matchLabels": dict(workload.selector)},
        "revisionHistoryLimit": 5,
        "progressDeadlineSeconds": 600,
        # Never fewer than wanted: a new pod is ready, golden rows passed, before an old one goes.
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
        },
        "template": pod_template(workload),
    }
    if workload.count is not None:
        # Where something else sets the count, applying one would undo its work.
        spec["replicas"] = workload.count
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": workload.metadata(),
        "spec": spec,
    }


def _service(workload: Workload) -> Manifest:
    port = {"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": workload.metadata(),
        "spec": {
            "type": "ClusterIP",
            "selector": dict(workload.selector),
            "ports": [{**port, "appProtocol": "http"}],
        },
    }


def _disruption_budget(workload: Workload) -> Manifest:
    """One pod at a time may be taken away, for a node's repair: of a lone one that is all."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": workload.metadata(),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": dict(workload.selector)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def _network_policy(workload: Workload) -> Manifest:
    """Requests come in on the port; what goes out is names and the stores, nothing else."""
    stores = [_way_to(one) for one in (workload.bundles, workload.predictions) if one is not None]
    names = {"ports": [{"protocol": kind, "port": _DNS} for kind in ("UDP", "TCP")]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": workload.metadata(),
        "spec": {
            "podSelector": {"matchLabels": dict(workload.selector)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"protocol": "TCP", "port": PORT}]}],
            "egress": [names, *(one for at, one in enumerate(stores) if one not in stores[:at])],
        },
    }


def _way_to(connection: Connection) -> Manifest:
    """A policy knows addresses, not names: a store with a name is told by its port alone."""
    host, port = connection_address(connection)
    block = _block(host)
    ports: Manifest = {"ports": [{"protocol": "TCP", "port": port}]}
    return {**ports, "to": [{"ipBlock": {"cidr": block}}]} if block is not None else ports


def _block(host: str | None) -> str | None:
    try:
        return str(ipaddress.ip_network(host)) if host else None
    except ValueError:
        return None


def _monitors(workload: Workload) -> list[Manifest]:
    if not workload.cluster.monitor:
        return []
    return [
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "ServiceMonitor",
            "metadata": workload.metadata(),
            "spec": {
                "selector": {"matchLabels": dict(workload.selector)},
                "endpoints": [{"port": "http", "path": "/metrics", "interval": "15s"}],
            },
        }
    ]
