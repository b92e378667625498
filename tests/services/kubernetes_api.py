"""A stand-in for a cluster's API on this machine: objects in memory, and rollouts that are played.

It is not Kubernetes. It keeps objects with their resource versions and generations, refuses what
`kubernetes-validate` finds wrong, follows a Deployment as its controller does (one new pod, then
one old one less), and makes a Deployment of an InferenceService. It knows no fields' owners: what
an applied object leaves out at its second level, such as `replicas`, stays as it was.

with KubernetesApi() as api:
    api.cluster()                       the adapter's own client of it
    api.fate = lambda pod: "image"      what becomes of pods from now on
    api.faults.append((503, "busy"))    the next request meets it
"""

import json
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import kubernetes_validate
from kubernetes.client import ApiClient, Configuration
from services.played_pods import Fate, all_ready, pod_status
from services.server_thread import in_thread

from ferryman.deployment.cluster.connection import Cluster

Thing = dict[str, Any]
NAMESPACE = "ferryman"
_CUSTOM = {"ScaledObject", "ServiceMonitor", "InferenceService"}


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass
class KubernetesApi:
    """The server. `unknown` are plural names of kinds that this cluster does not have."""

    fate: Fate = all_ready
    faults: list[tuple[int, str]] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    objects: dict[tuple[str, str], Thing] = field(default_factory=dict)

    def __enter__(self) -> "KubernetesApi":
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # head and body in one packet: else each answer waits 40 ms

            def do_GET(self) -> None:
                api.meet(self)

            def do_POST(self) -> None:
                api.meet(self)

            def do_PUT(self) -> None:
                api.meet(self)

            def do_PATCH(self) -> None:
                api.meet(self)

            def do_DELETE(self) -> None:
                api.meet(self)

            def log_message(self, *_: object) -> None:
                return

        self._version = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._running = in_thread(self._server)
        self._running.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.__exit__(None, None, None)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def cluster(self) -> Cluster:
        """The adapter's client of the namespace."""
        return Cluster(ApiClient(Configuration(host=self.url)), NAMESPACE)

    def kinds(self) -> list[str]:
        """The kinds and names of all objects that are no pods."""
        return sorted(f"{kind}/{name}" for kind, name in self.objects if kind != "pods")

    def meet(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        method, parts = handler.command, urlsplit(handler.path)
        with self._lock:
            self.asked.append(f"{method} {parts.path}")
            try:
                if self.faults:
                    raise Refused(*self.faults.pop(0))
                query = dict(parse_qsl(parts.query))
                answer = self._answer(method, parts.path, query, json.loads(body or b"{}"))
                status = 200
            except Refused as refused:
                answer = {"kind": "Status", "message": str(refused), "code": refused.status}
                status = refused.status
        content = json.dumps(answer).encode()
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _answer(self, method: str, path: str, query: dict[str, str], body: Thing) -> Thing:
        rest = path.partition("/namespaces/")[2]
        own, plural, *named = rest.split("/")
        if own != NAMESPACE:
            raise Refused(404, f'namespaces "{own}" not found')
        if plural in self.unknown:
            raise Refused(404, "the server could not find the requested resource")
        if method in ("POST", "PUT", "PATCH"):
            return self._write(method, plural, body)
        if method == "DELETE":
            return self._delete(plural, named[0])
        if plural == "deployments":
            self._play()
        if not named:
            wanted = dict(pair.split("=") for pair in query["labelSelector"].split(","))
            items = [one for one in self._all(plural) if _bears(one, wanted)]
            return {"kind": "List", "items": items}
        if (plural, named[0]) not in self.objects:
            raise Refused(404, f'{plural} "{named[0]}" not found')
        return self.objects[plural, named[0]]

    def _write(self, method: str, plural: str, body: Thing) -> Thing:
        if body["kind"] not in _CUSTOM:
            known = {key: body["metadata"][key] for key in ("name", "namespace")}
            fault = _fault(json.dumps({**body, "metadata": known}, sort_keys=True))
            if fault is not None:
                raise Refused(422, f"{body['kind']} is invalid: {fault}")
        if body["metadata"]["namespace"] != NAMESPACE:
            raise Refused(400, "the namespace of the object is not that of the request")
        key = (plural, body["metadata"]["name"])
        old = self.objects.get(key)
        if method == "POST" and old is not None:
            raise Refused(409, f'{plural} "{key[1]}" already exists')
        seen = body["metadata"].get("resourceVersion")
        if method == "PUT" and (old is None or seen != old["metadata"]["resourceVersion"]):
            raise Refused(409, "the object has been modified")
        self._keep(key, body, old)
        return self.objects[key]

    def _keep(self, key: tuple[str, str], body: Thing, old: Thing | None) -> None:
        new = {**body, "metadata": dict(body["metadata"])}
        if old is not None and "spec" in old:
            new["spec"] = {**old["spec"], **body["spec"]}
            new["status"] = old.get("status", {})
        changed = old is None or new.get("spec") != old.get("spec")
        before = old["metadata"]["generation"] if old else 0
        self._version += 1
        new["metadata"] |= {
            "generation": before + changed,
            "resourceVersion": str(self._version),
        }
        self.objects[key] = new

    def _delete(self, plural: str, name: str) -> Thing:
        if self.objects.pop((plural, name), None) is None:
            raise Refused(404, f'{plural} "{name}" not found')
        for key, thing in list(self.objects.items()):
            owners = thing["metadata"].get("ownerReferences", [])
            if any((owner["plural"], owner["name"]) == (plural, name) for owner in owners):
                self._delete(*key)
        return {"kind": "Status", "status": "Success"}

    def _all(self, plural: str) -> list[Thing]:
        return [thing for (kind, _), thing in self.objects.items() if kind == plural]

    def _play(self) -> None:
        """One turn of the controllers: KServe's, then that of Deployments."""
        for service in self._all("inferenceservices"):
            self._make_predictor(service)
        for deployment in self._all("deployments"):
            self._turn(deployment)

    def _make_predictor(self, service: Thing) -> None:
        predictor = service["spec"]["predictor"]
        name = f"{service['metadata']['name']}-predictor"
        template = {key: predictor[key] for key in ("labels", "annotations")}
        made = {
            "kind": "Deployment",
            "metadata": {
                "name": name,
                "labels": service["metadata"]["labels"],
                "ownerReferences": [_owner("inferenceservices", service)],
            },
            "spec": {"replicas": predictor["minReplicas"], "template": {"metadata": template}},
        }
        self._keep(("deployments", name), made, self.objects.get(("deployments", name)))

    def _turn(self, deployment: Thing) -> None:
        spec, name = deployment["spec"], deployment["metadata"]["name"]
        wanted = int(spec.setdefault("replicas", 1))
        note = spec["template"]["metadata"]["annotations"]
        pods = [pod for pod in self._all("pods") if _is_of(pod, name)]
        new = [pod for pod in pods if pod["metadata"]["annotations"] == note]
        for pod in new:
            pod["status"] = pod_status(pod, self.fate(pod))
        old = [pod for pod in pods if pod not in new]
        ready = [pod for pod in new if pod["status"]["phase"] == "Running" and _is_ready(pod)]
        if len(new) < wanted and len(pods) <= wanted:
            self._make_pod(deployment, note)
        elif old and len(ready) + len(old) > wanted:
            self.objects.pop(("pods", old[0]["metadata"]["name"]))
        elif not old and len(new) > wanted:
            self.objects.pop(("pods", new[0]["metadata"]["name"]))
        deployment["status"] = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": len(pods),
            "updatedReplicas": len(new),
            "availableReplicas": len(ready) + sum(_is_ready(pod) for pod in old),
        }

    def _make_pod(self, deployment: Thing, note: Thing) -> None:
        self._version += 1
        name = f"{deployment['metadata']['name']}-{self._version:05d}"
        metadata = {
            "name": name,
            "labels": deployment["spec"]["template"]["metadata"]["labels"],
            "annotations": dict(note),
            "ownerReferences": [_owner("deployments", deployment)],
        }
        pod = {"metadata": metadata, "status": {"phase": "Pending"}}
        self.objects["pods", name] = pod
        pod["status"] = pod_status(pod, self.fate(pod))


@lru_cache(maxsize=256)
def _fault(manifest: str) -> str | None:
    """What the published schema finds wrong; remembered, since it is read anew with each look."""
    try:
        kubernetes_validate.validate(json.loads(manifest), "1.35.0", strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error.message)
    return None


def _owner(plural: str, thing: Thing) -> dict[str, str]:
    return {"plural": plural, "name": thing["metadata"]["name"]}


def _is_of(pod: Thing, deployment: str) -> bool:
    return any(owner["name"] == deployment for owner in pod["metadata"]["ownerReferences"])


def _is_ready(pod: Thing) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _bears(thing: Thing, labels: dict[str, str]) -> bool:
    return labels.items() <= thing["metadata"].get("labels", {}).items()
