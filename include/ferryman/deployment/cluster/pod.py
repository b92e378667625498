"""The pod of a server in a cluster: fetch and verify the bundles, then serve them."""

from ferryman.deployment.cluster.workload import (
    KEY_NOTE,
    PORT,
    RELEASE_NOTE,
    Manifest,
    Workload,
    connection_environment,
)

_USER = 10001
_HOME = "/var/lib/ferryman"
_ROOT = f"{_HOME}/serving"
_PREDICTIONS = f"{_HOME}/predictions"
_NOTES = "/etc/ferryman"
_POD_NAME = {"fieldRef": {"fieldPath": "metadata.name"}}
# A leaving pod is still sent requests until every node has heard of it.
_LEAVE_SECONDS = 5
# What is begun may take 35 s to end, and the prediction log half a minute after that.
_GRACE_SECONDS = 75
_START_SECONDS = 120


def pod_template(workload: Workload) -> Manifest:
    """The pod template; a release is an annotation of it, so that it rolls out as any change."""
    return {
        "metadata": {"labels": dict(workload.labels), "annotations": dict(workload.notes)},
        "spec": pod_spec(workload),
    }


def pod_spec(workload: Workload) -> Manifest:
    """Nobody's pod but its own: no token, no privilege, nothing written outside its own folders."""
    return {
        "serviceAccountName": workload.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "topologySpreadConstraints": [
            _spread(workload, zone)
            for zone in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ],
        "initContainers": [_fetch_container(workload)],
        "containers": [_server_container(workload)],
        "volumes": [
            {"name": "state", "emptyDir": {}},
            {"name": "predictions", "emptyDir": {"sizeLimit": "2Gi"}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "2Gi"}},
            {"name": "notes", "projected": {"sources": [_notes(workload)]}},
        ],
    }


def _spread(workload: Workload, over: str) -> Manifest:
    return {
        "maxSkew": 1,
        "topologyKey": over,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(workload.selector)},
        # Pods of the release that goes do not count for where those of the new one are put.
        "matchLabelKeys": ["pod-template-hash"],
    }


def _notes(workload: Workload) -> Manifest:
    files = {RELEASE_NOTE: "release.json", KEY_NOTE: "signing.pub"}
    return {
        "downwardAPI": {
            "items": [
                {"path": files[note], "fieldRef": {"fieldPath": f"metadata.annotations['{note}']"}}
                for note in workload.notes
            ]
        }
    }


def _fetch_container(workload: Workload) -> Manifest:
    arguments = ["--release", f"{_NOTES}/release.json", "--bundles", workload.bundles.name]
    return {
        **_container(workload, "fetch", ["fetch", *arguments, "--root", _ROOT]),
        "env": [*_environment(workload), *connection_environment(workload.bundles)],
        "resources": _resources(workload, gpu=0),
    }


def _server_container(workload: Workload) -> Manifest:
    environment = [*_environment(workload), {"name": "POD_NAME", "valueFrom": _POD_NAME}]
    if workload.predictions is not None:
        name = {"name": "FERRYMAN_PREDICTIONS_CONNECTION", "value": workload.predictions.name}
        environment += [name, *connection_environment(workload.predictions)]
    return {
        **_container(workload, "server", _server_arguments(workload)),
        "env": environment,
        "resources": _resources(workload, gpu=workload.server.resources.gpu),
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": _probe("live", periodSeconds=1, failureThreshold=_START_SECONDS),
        "readinessProbe": _probe("ready", periodSeconds=2, failureThreshold=2),
        "livenessProbe": _probe("live", periodSeconds=10, failureThreshold=3),
        "lifecycle": {"preStop": {"sleep": {"seconds": _LEAVE_SECONDS}}},
    }


def _server_arguments(workload: Workload) -> list[str]:
    arguments = {
        "--root": _ROOT,
        "--predictions": _PREDICTIONS,
        "--host": "0.0.0.0",  # noqa: S104 - the pod's own address, which its node chooses
        "--port": str(PORT),
        "--name": "$(POD_NAME)",
        "--threads": str(workload.server.resources.threads),
    }
    if workload.public_key:
        arguments["--public-key"] = f"{_NOTES}/signing.pub"
    if workload.label_digest:
        arguments["--label-digest"] = workload.label_digest
    upload = ["--upload"] if workload.predictions is not None else []
    return ["standalone", *(part for pair in arguments.items() for part in pair), *upload]


def _container(workload: Workload, name: str, arguments: list[str]) -> Manifest:
    return {
        "name": name,
        "image": workload.cluster.image,
        "imagePullPolicy": "IfNotPresent",
        # The image's entry point is the serving program.
        "args": arguments,
        # Its last words are the reason that is told when it ends badly.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "state", "mountPath": _HOME},
            {"name": "predictions", "mountPath": _PREDICTIONS},
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
            {"name": "notes", "mountPath": _NOTES, "readOnly": True},
        ],
    }


def _environment(workload: Workload) -> list[Manifest]:
    threads = str(workload.server.resources.threads)
    given = {
        "FERRYMAN_HOME": _HOME,
        "FERRYMAN_CPUS": threads,
        "OMP_NUM_THREADS": threads,
        "HOME": "/tmp",  # noqa: S108 - the pod's own
    }
    if workload.public_key:
        given["FERRYMAN_SIGNING_PUBLIC_KEY"] = f"{_NOTES}/signing.pub"
    return [{"name": name, "value": value} for name, value in given.items()]


def _resources(workload: Workload, *, gpu: int) -> Manifest:
    """Requests are the limits: a replica is never squeezed by its neighbours, nor they by it."""
    resources = workload.server.resources
    amounts = {"cpu": f"{round(resources.cpu * 1000)}m", "memory": resources.memory}
    if resources.cpu == int(resources.cpu):
        amounts["cpu"] = str(int(resources.cpu))
    if gpu:
        amounts["nvidia.com/gpu"] = str(gpu)
    return {"requests": amounts, "limits": dict(amounts)}


def _probe(what: str, **times: int) -> Manifest:
    ask = {"path": f"/v2/health/{what}", "port": "http"}
    return {"httpGet": ask, "timeoutSeconds": 2, **times}
