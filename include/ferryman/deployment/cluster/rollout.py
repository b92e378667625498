"""How far a rollout is, and why it does not get on: what the cluster knows, in plain words."""

from collections.abc import Iterator
from dataclasses import dataclass

from ferryman.deployment.cluster.connection import Cluster
from ferryman.deployment.cluster.workload import RELEASE_NOTE, Manifest, Workload
from ferryman.deployment.deployer import Replica
from ferryman.errors import ExitCode

_LASTING = {
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
}
_TEXT = 300  # characters of a container's last words


@dataclass(frozen=True)
class Trouble:
    """Why a pod is not ready. `code` is the exit code of a container that ended, if one did.

    `lasting`: it does not pass by itself, or has come back.
    """

    text: str
    lasting: bool = False
    code: int | None = None


@dataclass(frozen=True)
class Rollout:
    """A server's pods against what they should be.

    `replicas` are those that are not leaving; `old` how many of them serve another release.
    `done`: as many as wanted are ready, all of this release, and no other is left.
    """

    wanted: int
    ready: int
    old: int
    done: bool
    replicas: tuple[Replica, ...]
    troubles: tuple[Trouble, ...]
    deadline_passed: bool = False

    def __str__(self) -> str:
        told = "; ".join(dict.fromkeys(trouble.text for trouble in self.troubles))
        old = f", {self.old} of an older release" if self.old else ""
        return f"{self.ready} of {self.wanted} replicas ready{old}" + (f"; {told}" if told else "")


def look(cluster: Cluster, workload: Workload) -> Rollout | None:
    """The rollout as it is now; None where the cluster has no such Deployment (yet)."""
    found = cluster.get("Deployment", workload.deployment)
    if found is None:
        return None
    pods = [
        pod
        for pod in cluster.find("Pod", workload.selector)
        if "deletionTimestamp" not in pod["metadata"]
    ]
    note = workload.notes[RELEASE_NOTE]
    current = [pod for pod in pods if _note(pod) == note]
    status, spec = found.get("status") or {}, found["spec"]
    wanted = int(spec.get("replicas", 1))
    seen = status.get("observedGeneration", 0) >= found["metadata"].get("generation", 1)
    settled = (
        seen
        and wanted == (workload.count or wanted)
        and _note(spec["template"]) == note
        and status.get("replicas", 0) == status.get("updatedReplicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
    )
    ready = sum(_is_ready(pod) for pod in current)
    return Rollout(
        wanted=wanted,
        ready=ready,
        old=len(pods) - len(current),
        done=settled and len(pods) == len(current) == ready,
        replicas=tuple(_replica(pod, note) for pod in pods),
        troubles=tuple(trouble for pod in current if (trouble := trouble_of(pod)) is not None),
        deadline_passed=seen
        and any(
            condition.get("reason") == "ProgressDeadlineExceeded"
            for condition in status.get("conditions", [])
        ),
    )


def trouble_of(pod: Manifest) -> Trouble | None:
    """Why a pod is not ready; None where it is, or nothing is known but that it starts."""
    if _is_ready(pod):
        return None
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return Trouble(f"{name} is unschedulable: {condition.get('message', '')}")
    if status.get("phase") == "Failed":
        text = f"{status.get('reason', '')} {status.get('message', '')}".strip()
        return Trouble(f"{name} failed: {text or 'no reason given'}", lasting=True)
    return next(_container_troubles(name, status), None)


def _container_troubles(pod: str, status: Manifest) -> Iterator[Trouble]:
    every = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    for container in every:
        state = container.get("state") or {}
        waiting = state.get("waiting") or {}
        ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
        if ended is not None and ended.get("exitCode", 0) != 0:
            yield _ended(f"{pod}, container {container['name']}", ended, waiting)
        elif waiting.get("reason") in _LASTING:
            said = " ".join(str(waiting.get("message", "")).split())[:_TEXT]
            yield Trouble(
                f"{pod}, container {container['name']}: {waiting['reason']}: {said}", True
            )


def _ended(where: str, ended: Manifest, waiting: Manifest) -> Trouble:
    code, reason = int(ended["exitCode"]), str(ended.get("reason", ""))
    said = " ".join(str(ended.get("message", "")).split())[-_TEXT:]
    if reason == "OOMKilled":
        text = f"{where} needed more memory than its limit: OOMKilled"
    else:
        text = f"{where} ended with {code} ({_meaning(code)}): {said or reason}"
    return Trouble(text, lasting=waiting.get("reason") == "CrashLoopBackOff", code=code)


def _meaning(code: int) -> str:
    try:
        return ExitCode(code).name.lower()
    except ValueError:
        return f"signal {code - 128}" if code > 128 else "unknown"


def _replica(pod: Manifest, note: str) -> Replica:
    name = pod["metadata"]["name"]
    trouble = trouble_of(pod)
    if trouble is not None:
        return Replica(name, "silent" if trouble.lasting else "not_ready", trouble.text)
    if not _is_ready(pod):
        return Replica(name, "not_ready", "starting")
    return Replica(name, "ready", "" if _note(pod) == note else "serves an older release")


def _is_ready(pod: Manifest) -> bool:
    conditions = (pod.get("status") or {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _note(thing: Manifest) -> str | None:
    note: str | None = (thing["metadata"].get("annotations") or {}).get(RELEASE_NOTE)
    return note
