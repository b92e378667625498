"""One namespace of a cluster: objects applied, read and removed by the official client."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ferryman.deployment.cluster.workload import Manifest
from ferryman.errors import (
    DependencyUnavailable,
    FerrymanError,
    LostRace,
    PolicyRefused,
    SpecError,
)
from ferryman.spec.servers import KubernetesSpec

_OWNER = "ferryman"
_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 30.0
_NO_SUCH_API = "404 page not found"
_TEXT = 600  # characters of what the cluster says

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Place:
    """Where objects of a kind are: their API, their name in it, who brings them along."""

    api: str
    plural: str
    comes_with: str = "Kubernetes"


_PLACES: Mapping[str, _Place] = {
    "ConfigMap": _Place("api/v1", "configmaps"),
    "Pod": _Place("api/v1", "pods"),
    "Service": _Place("api/v1", "services"),
    "ServiceAccount": _Place("api/v1", "serviceaccounts"),
    "Deployment": _Place("apis/apps/v1", "deployments"),
    "PodDisruptionBudget": _Place("apis/policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": _Place("apis/networking.k8s.io/v1", "networkpolicies"),
    "HorizontalPodAutoscaler": _Place("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "ScaledObject": _Place("apis/keda.sh/v1alpha1", "scaledobjects", "KEDA"),
    "ServiceMonitor": _Place(
        "apis/monitoring.coreos.com/v1", "servicemonitors", "the Prometheus operator"
    ),
    "InferenceService": _Place("apis/serving.kserve.io/v1beta1", "inferenceservices", "KServe"),
}


class Cluster:
    """A namespace. `api` is a kubernetes.client.ApiClient.

    Every method raises DependencyUnavailable (exit 6) within half a minute when the cluster is
    away, PolicyRefused (exit 9) when it forbids the request, SpecError (exit 2) when it does not
    accept an object.
    """

    def __init__(self, api: Any, namespace: str) -> None:
        api.configuration.retries = 1
        self._api = api
        self.namespace = namespace

    def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply: our fields are as the manifest says, those of others stay."""
        name = manifest["metadata"]["name"]
        query = [("fieldManager", _OWNER), ("force", "true")]
        return self._ask("PATCH", manifest["kind"], name, query, manifest) or {}

    def create(self, manifest: Manifest) -> None:
        """Create an object; LostRace (exit 8) where there is one of that name already."""
        self._ask("POST", manifest["kind"], None, [("fieldManager", _OWNER)], manifest)

    def replace(self, manifest: Manifest) -> None:
        """Replace an object of the resourceVersion that was read; LostRace (exit 8) if it moved."""
        name = manifest["metadata"]["name"]
        self._ask("PUT", manifest["kind"], name, [("fieldManager", _OWNER)], manifest)

    def get(self, kind: str, name: str) -> Manifest | None:
        """The object, or None where there is none."""
        return self._ask("GET", kind, name)

    def find(self, kind: str, labels: Mapping[str, str]) -> list[Manifest]:
        """The objects with these labels, by name; none where the cluster has no such kind."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        found = self._ask("GET", kind, None, [("labelSelector", selector)])
        items: list[Manifest] = found["items"] if found else []
        return sorted(items, key=lambda item: str(item["metadata"]["name"]))

    def delete(self, kind: str, name: str) -> None:
        """Remove an object and what it owns; none is fine."""
        self._ask("DELETE", kind, name)

    def _ask(
        self,
        method: str,
        kind: str,
        name: str | None,
        query: list[tuple[str, str]] | None = None,
        body: Manifest | None = None,
    ) -> Manifest | None:
        """The answer; None for what a GET or DELETE does not find."""
        import urllib3

        place = _PLACES[kind]
        path = f"/{place.api}/namespaces/{self.namespace}/{place.plural}"
        path += f"/{name}" if name else ""
        apply = method == "PATCH"
        try:
            request = self._api.param_serialize(
                method,
                path,
                query_params=query or [],
                header_params={
                    "Accept": "application/json",
                    "Content-Type": "application/apply-patch+yaml" if apply else "application/json",
                },
                body=json.dumps(body) if apply else body,  # JSON is YAML, too
                auth_settings=["BearerToken"],
            )
            response = self._api.call_api(
                *request, _request_timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS)
            )
            content = response.read()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise DependencyUnavailable(
                f"the cluster at {self._api.configuration.host} does not answer: "
                f"{type(error).__name__}",
                remedy="Look at the kubeconfig's context and at the cluster, then run again.",
            ) from error
        what = f"{kind} {self.namespace}/{name or ''}"
        answer = _read(content)
        if not _is_kubernetes(answer):
            raise DependencyUnavailable(
                f"what answers at {self._api.configuration.host} is no cluster "
                f"(status {response.status})",
                remedy="Look at the kubeconfig's context, and for a proxy on the way.",
            )
        if response.status == 404 and method in ("GET", "DELETE"):
            return None
        if response.status >= 300:
            raise _error(response.status, what, place, str(answer.get("message", "")), method)
        return answer


def connect(spec: KubernetesSpec) -> Cluster:
    """The declared namespace, by the kubeconfig or, inside a cluster, by the pod's own account.

    Raises DependencyUnavailable (exit 6) where neither is there, or the context is not.
    """
    from kubernetes import config
    from kubernetes.client import ApiClient, Configuration

    chosen = Configuration()
    try:
        try:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                context=spec.context, client_configuration=chosen
            )
        except config.ConfigException:
            if spec.context is not None:
                raise
            config.load_incluster_config(client_configuration=chosen)  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError) as error:
        raise DependencyUnavailable(
            f"no way to a cluster: {str(error)[:_TEXT]}",
            remedy="Set KUBECONFIG, or name an existing context in servers.yaml.",
        ) from error
    return Cluster(ApiClient(chosen), spec.namespace)


def _is_kubernetes(answer: Manifest) -> bool:
    """Every answer names its kind, but that to a path whose API it does not have."""
    return "kind" in answer or str(answer.get("message", "")).startswith(_NO_SUCH_API)


def _read(content: bytes) -> Manifest:
    try:
        answer = json.loads(content)
    except ValueError:
        return {"message": content[:_TEXT].decode(errors="replace")}
    return answer if isinstance(answer, dict) else {}


def _error(status: int, what: str, place: _Place, said: str, method: str) -> FerrymanError:
    said = " ".join(said.split())[:_TEXT]
    if status in (401, 403):
        return PolicyRefused(
            f"the cluster forbids {method} of {what}: {said}",
            remedy="Let this account get, list, create, patch and delete it in the namespace.",
        )
    if status == 404 and "namespaces" in said:
        return SpecError(
            f"{what}: {said}", remedy="Create the namespace: kubectl create namespace NAME."
        )
    if status == 404:
        return SpecError(
            f"the cluster knows no {what.partition(' ')[0]}: it comes with {place.comes_with}",
            remedy=f"Install {place.comes_with}, or declare the server without it.",
        )
    if status == 409:
        return LostRace(f"{what}: {said}")
    # A field that a custom resource does not know is the server's own mistake to its mind.
    unknown_field = status == 500 and "failed to create typed patch object" in said
    if status in (400, 413, 415, 422) or unknown_field:
        return SpecError(f"the cluster does not accept {what}: {said}")
    return DependencyUnavailable(f"the cluster answered {status} for {what}: {said}")
