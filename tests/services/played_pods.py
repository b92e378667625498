"""What a node would say of a pod: for control planes without nodes, played or real."""

from collections.abc import Callable, Mapping
from typing import Any

Pod = dict[str, Any]
Fate = Callable[[Pod], str]
NOW = "2026-01-01T00:00:00Z"


def all_ready(pod: Pod) -> str:
    """The fate of a pod where nothing goes wrong."""
    return "ready"


def pod_status(pod: Pod, fate: str) -> dict[str, Any]:
    """The status of a pod with a fate.

    ready, starting, unschedulable, image, oom, or CODE:WORDS, with which `fetch` ended twice.
    """
    if fate == "ready":
        return {
            "phase": "Running",
            "conditions": [_condition("PodScheduled"), _condition("Ready")],
            "containerStatuses": [_container("server", {"running": {"startedAt": NOW}}, True)],
        }
    if fate == "unschedulable":
        why = {"reason": "Unschedulable", "message": "0/3 nodes are available: Insufficient cpu."}
        return {"phase": "Pending", "conditions": [_condition("PodScheduled", "False", **why)]}
    pending = {"phase": "Pending", "conditions": [_condition("Ready", "False")]}
    if fate == "starting":
        return pending
    if fate == "image":
        waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image: not found"}
        return {**pending, "initContainerStatuses": [_container("fetch", {"waiting": waiting})]}
    if fate == "oom":
        ended = {"exitCode": 137, "reason": "OOMKilled", "startedAt": NOW, "finishedAt": NOW}
        status = {**_container("server", _BACK_OFF), "lastState": {"terminated": ended}}
        return {**pending, "phase": "Running", "containerStatuses": [status]}
    code, _, words = fate.partition(":")
    ended = {"exitCode": int(code), "reason": "Error", "message": words}
    ended |= {"startedAt": NOW, "finishedAt": NOW}
    status = {**_container("fetch", _BACK_OFF), "lastState": {"terminated": ended}}
    return {**pending, "initContainerStatuses": [status]}


_BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting"}}


def _container(name: str, state: Mapping[str, Any], ready: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "image": "ferryman",
        "imageID": "",
        "ready": ready,
        "restartCount": 0 if ready else 2,
        "state": dict(state),
    }


def _condition(kind: str, status: str = "True", **why: str) -> dict[str, str]:
    return {"type": kind, "status": status, "lastTransitionTime": NOW, **why}
