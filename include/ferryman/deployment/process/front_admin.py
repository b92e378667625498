"""Asks a server's front for its replicas, and tells it how many there shall be."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from ferryman.deployment.deployer import DeploymentState, Replica
from ferryman.errors import DependencyUnavailable
from ferryman.runtime.admin_token import read_token
from ferryman.runtime.endpoints import Endpoint

_ANSWER_SECONDS = 3.0
_SCALE_SECONDS = 90.0
_STATES: Mapping[str, DeploymentState] = {"ready": "ready", "hangs": "silent"}


class FrontAdmin:
    """The administration of one front, as far as a deployer needs it.

    `replicas` and `scale` answer {"wanted": n, "restarts": n, "replicas": [{"name", "pid",
    "state": joining|ready|leaving|hangs, "connections", "memory", "missing", "problems"}]}.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def replicas(self) -> dict[str, Any]:
        """What is there; DependencyUnavailable (exit 6) when no front answers."""
        return self._send("GET", None, _ANSWER_SECONDS)

    def scale(self, count: int, leave: Sequence[str] = ()) -> dict[str, Any]:
        """Have so many replicas; those named in `leave` go first. Returns once it is so.

        A front without children starts none: it waits for those that leave only.
        """
        return self._send("POST", {"count": count, "leave": list(leave)}, _SCALE_SECONDS)

    def _send(self, method: str, body: Any, seconds: float) -> dict[str, Any]:
        url = f"{self._endpoint.admin_url}/admin/replicas"
        headers = {"authorization": f"Bearer {read_token(self._endpoint.token_file)}"}
        try:
            # The front is ours and near: a proxy from the environment must not get in between.
            with httpx.Client(trust_env=False, timeout=seconds) as client:
                response = client.request(method, url, json=body, headers=headers)
        except httpx.TransportError as error:
            raise DependencyUnavailable(
                f"front not reachable at {url}: {error or type(error).__name__}",
                remedy="Start it: ferryman serve --detach.",
            ) from error
        content: dict[str, Any] = response.json()
        if response.status_code != 200:
            raise DependencyUnavailable(f"{url}: {content.get('error', response.reason_phrase)}")
        return content


def replicas_of(content: Mapping[str, Any]) -> tuple[Replica, ...]:
    """The replicas that a front tells of, in the words of deployers."""
    return tuple(
        Replica(
            name=str(entry["pid"]),
            state=_STATES.get(entry["state"], "not_ready"),
            detail=_detail(entry),
        )
        for entry in content["replicas"]
    )


def _detail(entry: Mapping[str, Any]) -> str:
    said = f"{entry['name']}: {entry['state']}"
    return f"{said}; cannot load {', '.join(entry['missing'])}" if entry.get("missing") else said
