"""Plays the nodes of a control plane that has none: says of each pod what a kubelet would."""

import threading
from typing import Any

from kubernetes.client import ApiException, CoreV1Api
from services.played_pods import Fate, all_ready, pod_status
from urllib3.exceptions import HTTPError


class PlayedNode:
    """A thread that gives every pod of a namespace the status of its fate."""

    def __init__(self, api: Any, namespace: str) -> None:
        self.fate: Fate = all_ready
        self._core = CoreV1Api(api)
        self._namespace = namespace
        self._told: dict[str, str] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.error: Exception | None = None

    def __enter__(self) -> "PlayedNode":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            while not self._over.wait(0.05):
                self._turn()
        except (ApiException, HTTPError) as error:
            self.error = error

    def _turn(self) -> None:
        listed = self._core.list_namespaced_pod(self._namespace)
        for pod in self._core.api_client.sanitize_for_serialization(listed)["items"]:
            name, fate = pod["metadata"]["name"], self.fate(pod)
            if self._told.get(name) == fate:
                continue
            try:
                self._core.patch_namespaced_pod_status(
                    name, self._namespace, {"status": pod_status(pod, fate)}
                )
            except ApiException as error:
                if error.status not in (404, 409):  # gone, or written by its controller just now
                    raise
                continue
            self._told[name] = fate
