"""The servers that answer for models: servers.yaml beside the models' folders, version 1.

A server is declared once, whatever place it runs in; a model names the one that serves it. Without
the file there is one, `main`: a process of this machine.
"""

import math
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from ferryman.errors import SpecError
from ferryman.spec.durations import Duration
from ferryman.spec.mistakes import mistakes_of, nearest
from ferryman.spec.part import Part
from ferryman.spec.serving import MAIN
from ferryman.spec.yaml_file import DeclarationError, line_index, parse_yaml, to_python

FILE_NAME = "servers.yaml"
_NAME = r"^[a-z][a-z0-9-]{0,29}$"
_MEMORY = r"^[1-9][0-9]*(Mi|Gi)$"
_IMAGE = r"^([a-z0-9][a-z0-9._/:-]*@)?sha256:[0-9a-f]{64}$"
_HTTP = r"^https?://[^\s@/]+(/\S*)?$"
_DNS_LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"

ServerName = Annotated[str, Field(pattern=_NAME)]


class ResourcesSpec(Part):
    """What one replica may use; more is refused it, and said."""

    cpu: float = Field(default=1, gt=0, le=256, description="Cores.")
    memory: str = Field(default="1Gi", pattern=_MEMORY)
    gpu: int = Field(default=0, ge=0, le=16)

    @property
    def threads(self) -> int:
        """How many threads a replica's arithmetic may use."""
        return max(1, math.floor(self.cpu))

    @property
    def memory_bytes(self) -> int:
        """The memory in bytes."""
        number, unit = int(self.memory[:-2]), self.memory[-2:]
        return number * (2**20 if unit == "Mi" else 2**30)


class CpuRule(Part):
    """As many replicas as keep each at this share of its cores."""

    kind: Literal["cpu"]
    target: float = Field(default=0.7, gt=0, le=1)


class RequestsRule(Part):
    """As many replicas as give each so many requests a second."""

    kind: Literal["requests"]
    per_replica: float = Field(gt=0)


class LatencyFeedback(Part):
    """More replicas while the 95th percentile is above its target, fewer while far below it."""

    kind: Literal["latency"]
    p95_ms: float = Field(gt=0, description="Milliseconds.")
    release: float = Field(
        default=0.5, gt=0, lt=0.9, description="Share of the target below which one may go."
    )


AutoscalingRule = Annotated[CpuRule | RequestsRule | LatencyFeedback, Field(discriminator="kind")]


class AutoscalingSpec(Part):
    """How the number of replicas follows the load; of several rules the largest count wins."""

    min: int = Field(default=1, ge=1, le=100)
    max: int = Field(ge=1, le=100)
    rules: list[AutoscalingRule] = Field(min_length=1, max_length=3)
    tolerance: float = Field(
        default=0.1, ge=0, lt=1, description="Deviation from a target that changes nothing."
    )
    scale_down_after: Duration = Field(
        default=timedelta(minutes=5), description="How long fewer must have been enough."
    )

    @model_validator(mode="after")
    def _in_order(self) -> "AutoscalingSpec":
        if self.max < self.min:
            raise ValueError(f"max {self.max} is below min {self.min}")
        kinds = [rule.kind for rule in self.rules]
        if len(set(kinds)) < len(kinds):
            raise ValueError("one rule of a kind is enough")
        return self


class ContainerSpec(Part):
    """How replicas run as containers of this machine's Docker engine."""

    image: str = Field(pattern=_IMAGE, description="By digest: NAME@sha256:..., or sha256:... .")


class KubernetesSpec(Part):
    """How replicas run in a cluster."""

    image: str = Field(pattern=_IMAGE, description="By digest: NAME@sha256:... .")
    kind: Literal["deployment", "kserve"] = "deployment"
    namespace: str = Field(default="ferryman", pattern=_DNS_LABEL)
    context: str | None = Field(default=None, description="Of the kubeconfig; default its own.")
    bundles: str = Field(description="Connection (s3://...) that pods fetch released bundles from.")
    url: str | None = Field(
        default=None, description="Where clients reach the Service; default inside the cluster."
    )
    prometheus: str | None = Field(
        default=None,
        pattern=_HTTP,
        description="The cluster's Prometheus; rules on requests and latency ask it, by KEDA.",
    )
    monitor: bool = Field(
        default=False, description="Let the Prometheus operator find /metrics: a ServiceMonitor."
    )


class ServerSpec(Part):
    """One server: where it runs, how many replicas, how much of a machine each."""

    place: Literal["process", "container", "kubernetes"] = "process"
    replicas: int = Field(default=1, ge=1, le=100)
    host: str | None = Field(default=None, description="Default FERRYMAN_SERVING_HOST.")
    port: int | None = Field(
        default=None, ge=1, le=65_535, description="Default, of main only, FERRYMAN_SERVING_PORT."
    )
    admin_port: int | None = Field(
        default=None, ge=1, le=65_535, description="Default, of main only, ..._ADMIN_PORT."
    )
    resources: ResourcesSpec = ResourcesSpec()
    autoscaling: AutoscalingSpec | None = None
    container: ContainerSpec | None = None
    kubernetes: KubernetesSpec | None = None

    @model_validator(mode="after")
    def _fits_its_place(self) -> "ServerSpec":
        for place in ("container", "kubernetes"):
            if (self.place == place) != (getattr(self, place) is not None):
                raise ValueError(f"key {place!r} goes with place: {place}, and only with it")
        if self.autoscaling is not None and not (
            self.autoscaling.min <= self.replicas <= self.autoscaling.max
        ):
            raise ValueError("replicas lies outside of autoscaling's min and max")
        return self


class ServersSpec(Part):
    """Every server of an installation."""

    spec_version: Literal[1]
    servers: dict[ServerName, ServerSpec]

    @model_validator(mode="after")
    def _ports_are_told_apart(self) -> "ServersSpec":
        taken: dict[int, str] = {}
        for name, server in self.servers.items():
            if server.place == "kubernetes":
                continue
            for key in ("port", "admin_port"):
                port: int | None = getattr(server, key)
                if port is None and name != MAIN:
                    raise ValueError(f"server {name!r} needs a {key}")
                if port is not None and port in taken:
                    raise ValueError(f"servers {taken[port]!r} and {name!r} share port {port}")
                if port is not None:
                    taken[port] = name
        return self


def load_servers(zoo: Path) -> Mapping[str, ServerSpec]:
    """The declared servers by name, `main` always among them.

    Raises DeclarationError (exit 2) with every mistake, each as file:line: text.
    """
    file = zoo / FILE_NAME
    if not file.is_file():
        return {MAIN: ServerSpec()}
    node = parse_yaml(file)
    lines = line_index(node)
    try:
        spec = ServersSpec.model_validate(to_python(node, file))
    except ValidationError as error:
        raise DeclarationError(mistakes_of(error, file, lines, ServersSpec)) from error
    return {MAIN: ServerSpec(), **spec.servers}


def find_server(zoo: Path, name: str) -> ServerSpec:
    """One declared server; SpecError (exit 2) names the nearest one."""
    servers = load_servers(zoo)
    if name in servers:
        return servers[name]
    meant = nearest(name[:100], list(servers))
    hint = f"; did you mean {meant!r}?" if meant else ""
    raise SpecError(
        f"no server {name[:100]!r} is declared{hint}",
        remedy=f"Declare it in {zoo / FILE_NAME}; declared: {', '.join(servers)}.",
    )
