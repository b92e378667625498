"""Where an autoscaler's figures come from: a Prometheus, or the server's own page of metrics."""

import math
from typing import Any, Literal, Protocol

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from ferryman.deployment.autoscaling.decision import Figures
from ferryman.errors import DependencyUnavailable

REQUESTS = "ferryman_requests_total"
SECONDS = "ferryman_request_seconds_bucket"
IN_FLIGHT = "ferryman_requests_in_flight"
CPU = "process_cpu_seconds_total"
REPLICAS = "ferryman_replicas"
FRONT = "front"  # what the front's own samples carry in place of a replica's name
# Requests that ask no prediction are quick and regular: they would water the latency down.
NO_PREDICTIONS = (
    "labels",
    "status",
    "metadata",
    "model_ready",
    "server",
    "live",
    "ready",
    "metrics",
    "none",
)
QUANTILE = 0.95

_ANSWER_SECONDS = 5.0


class FigureSource(Protocol):
    """Measures one server."""

    def read(self) -> Figures:
        """The newest figures; DependencyUnavailable (exit 6) when there are none, with why."""
        ...


class PrometheusFigures:
    """Asks a Prometheus that scrapes the server; its samples carry the label server="<name>".

    `cores` are those declared for a replica, `window` the seconds that rates are taken over: four
    scrapes at least, or a lost one leaves no rate.
    Source: https://prometheus.io/docs/prometheus/latest/querying/api/
    """

    def __init__(self, url: str, server: str, *, cores: float, window: float) -> None:
        self._url = httpx.URL(url.rstrip("/") + "/api/v1/query")
        self._server, self._cores, self._window = server, cores, window

    def read(self) -> Figures:
        """Seven instant queries; nothing is kept between two calls."""
        own, rate = f'server="{self._server}"', f"[{self._window:g}s]"
        replica = f'{own},replica!~"|{FRONT}"'
        asked = f'{replica},route!~"{"|".join(NO_PREDICTIONS)}"'
        # A proxy from the environment must not get between us and a Prometheus that is near.
        with httpx.Client(trust_env=False, timeout=_ANSWER_SECONDS) as client:
            there = self._ask(client, f"sum by (replica) ({IN_FLIGHT}{{{replica}}})")
            if not there:
                raise DependencyUnavailable(
                    f"{self._shown} has no replica of a server {self._server!r}",
                    remedy=f'Let it scrape the server with the label server: "{self._server}".',
                )
            age = self._ask(client, f"time() - max(timestamp({IN_FLIGHT}{{{replica}}}))")
            cpu = self._ask(client, f"sum by (replica) (rate({CPU}{{{replica}}}{rate}))")
            load = self._ask(client, f"sum by (replica) (rate({REQUESTS}{{{asked}}}{rate}))")
            buckets = f"sum by (le) (rate({SECONDS}{{{asked}}}{rate}))"
            slow = self._ask(client, f"histogram_quantile({QUANTILE}, {buckets})")
            ready = self._ask(client, f'max({REPLICAS}{{{own},state="ready"}})')
        return self._figures(
            {
                "window": self._window,
                "age": max(0.0, age.get("", 0.0)),
                "replicas": {
                    # Counters come with a first request: without one, it was asked nothing.
                    name: {
                        "cpu": cpu[name] / self._cores if name in cpu else None,
                        "requests": load.get(name, 0.0),
                    }
                    # Replicas that have gone had their part of the load, too.
                    for name in {**load, **there}
                },
                "ready": ready.get(""),
                "p95_ms": slow[""] * 1000 if "" in slow else None,
                "in_flight": sum(there.values()),
            }
        )

    def _figures(self, told: dict[str, Any]) -> Figures:
        try:
            return Figures.model_validate(told)
        except ValidationError as error:
            raise DependencyUnavailable(
                f"{self._shown} told figures of {self._server!r} that cannot be: {error}",
                remedy="See what it scrapes under that label.",
            ) from error

    def _ask(self, client: httpx.Client, query: str) -> dict[str, float]:
        """The values of an instant query by replica ("" where it has none), without NaN."""
        try:
            response = client.get(self._url, params={"query": query})
            answer = _Answer.model_validate_json(response.content)
        except httpx.TransportError as error:
            raise DependencyUnavailable(
                f"Prometheus not reachable at {self._shown}: {error or type(error).__name__}",
                remedy="Start it, or correct FERRYMAN_PROMETHEUS_URL.",
            ) from error
        except ValidationError as error:
            raise DependencyUnavailable(
                f"{self._shown} answered {response.status_code}, and not as a Prometheus does",
                remedy="Correct FERRYMAN_PROMETHEUS_URL.",
            ) from error
        values = ((one.metric.get("replica", ""), one.value[1]) for one in answer.data.result)
        return {name: value for name, value in values if math.isfinite(value)}

    @property
    def _shown(self) -> str:
        # A password in the address is for Prometheus, not for a log.
        return str(self._url.copy_with(userinfo=b""))


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Sample(_Part):
    metric: dict[str, str]
    value: tuple[float, float]  # the second comes as text, NaN and +Inf among it


class _Data(_Part):
    resultType: Literal["vector"]  # noqa: N815 - Prometheus' name
    result: list[_Sample]


class _Answer(_Part):
    status: Literal["success"]
    data: _Data


def fetch_metrics(url: str) -> str:
    """The server's own page of metrics; DependencyUnavailable (exit 6) when it gives none."""
    try:
        with httpx.Client(trust_env=False, timeout=_ANSWER_SECONDS) as client:
            response = client.get(f"{url}/metrics")
    except httpx.TransportError as error:
        raise DependencyUnavailable(
            f"no metrics from {url}: {error or type(error).__name__}",
            remedy="Start the server: ferryman serve --detach.",
        ) from error
    if response.status_code != 200:
        raise DependencyUnavailable(f"{url}/metrics answered {response.status_code}")
    return str(response.text)
