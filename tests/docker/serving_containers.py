"""A server of containers under load: who answered what, and what was not answered."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from ferryman.deployment.container.config import REPLICA_LABEL
from ferryman.deployment.container.container_deployer import ContainerDeployer
from ferryman.runtime.endpoints import main_endpoint
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings
from ferryman.spec.servers import ServerSpec

_SAMPLE = re.compile(r"^ferryman_predictions_total\{([^}]*)\} ([0-9.e+]+)$", re.MULTILINE)
_REPLICA = re.compile(r'replica="([^"]+)"')


def server_of(image: str, replicas: int = 1, **resources: Any) -> ServerSpec:
    """A server of containers, each with half a core and 256 MiB if not said otherwise."""
    return ServerSpec.model_validate(
        {
            "place": "container",
            "replicas": replicas,
            "container": {"image": image},
            "resources": {"cpu": 0.5, "memory": "256Mi", **resources},
        }
    )


def load_model(settings: Settings, bundle: Any, epoch: int = 1) -> None:
    with ServingClient(main_endpoint(settings)) as client:
        where = {"bundle": str(bundle.folder), "digest": bundle.digest}
        client.load("tiny", version=epoch, epoch=epoch, **where)


def containers_of(client: Any, deployer: ContainerDeployer) -> dict[str, str]:
    """The ids of the living containers of a server by replica."""
    wanted = {replica.name for replica in deployer.status().replicas}
    found = client.containers.list()
    names = {one.labels.get(REPLICA_LABEL, ""): one.id for one in found}
    return {name: names[name] for name in wanted if name in names}


def answered_by(settings: Settings) -> dict[str, float]:
    """Rows that each replica has scored, from the merged page."""
    page = httpx.get(f"{main_endpoint(settings).url}/metrics", trust_env=False).text
    shares: dict[str, float] = {}
    for labels, value in _SAMPLE.findall(page):
        replica = _REPLICA.search(labels)
        assert replica is not None, labels
        shares[replica.group(1)] = shares.get(replica.group(1), 0) + float(value)
    return shares


@dataclass
class Asked:
    """What clients saw: right answers, requests that were asked again, and what never came."""

    right: int = 0
    again: int = 0
    lost: list[str] = field(default_factory=list)


@contextmanager
def under_load(
    settings: Settings, bundle: Any, clients: int = 6, retries: int = 0
) -> Iterator[Asked]:
    """Ask from so many kept connections while the block runs; each answer is checked."""
    asked, stop, lock = Asked(), threading.Event(), threading.Lock()
    url = f"{main_endpoint(settings).url}/v1/models/tiny:predict"
    body = {"instances": [bundle.rows[0]]}

    def ask(http: httpx.Client) -> None:
        for attempt in range(retries + 1):
            try:
                response = http.post(url, json=body)
                score = response.json()["predictions"][0]
                assert abs(score - bundle.outputs[0]) < 1e-5, score
            except (httpx.TransportError, KeyError, AssertionError, ValueError) as error:
                if attempt == retries:
                    with lock:
                        asked.lost.append(repr(error))
                    return
                with lock:
                    asked.again += 1
            else:
                with lock:
                    asked.right += 1
                return

    def go_on() -> None:
        with httpx.Client(trust_env=False, timeout=10) as http:
            while not stop.is_set():
                ask(http)
                time.sleep(0.002)

    threads = [threading.Thread(target=go_on) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield asked
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def wait_until(asked: Asked, more: int) -> None:
    """Until so many more answers came."""
    goal, deadline = asked.right + more, time.monotonic() + 60
    while asked.right < goal:
        assert time.monotonic() < deadline, f"{asked.right} of {goal} answers"
        time.sleep(0.02)
