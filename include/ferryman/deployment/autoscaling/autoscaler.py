"""Keeps the number of a server's replicas at what its load asks for."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from ferryman.deployment.autoscaling.decision import EVERY, Decision, Figures
from ferryman.deployment.autoscaling.figures import FigureSource, PrometheusFigures
from ferryman.deployment.autoscaling.log import AutoscalingFiles
from ferryman.deployment.autoscaling.policy import Moment, decide
from ferryman.deployment.autoscaling.scrape import ScrapedFigures
from ferryman.deployment.deployer import Deployer
from ferryman.deployment.deployers import deployer_of
from ferryman.errors import DependencyUnavailable, PolicyRefused, SpecError
from ferryman.runtime.endpoints import endpoint_of
from ferryman.settings import Settings
from ferryman.spec.servers import AutoscalingSpec, ServerSpec, find_server


class Autoscaler:
    """Decides for one server, acts by its deployer, and keeps every decision."""

    def __init__(
        self,
        server: str,
        spec: AutoscalingSpec,
        deployer: Deployer,
        source: FigureSource,
        files: AutoscalingFiles,
    ) -> None:
        self._server, self._spec = server, spec
        self._deployer, self._source, self._files = deployer, source, files

    def decide(self) -> Decision:
        """Take one decision, carry it out, and log it.

        What stood in the way of it (no server, no figures, no room) is the decision's `error`.
        """
        memory, now = self._files.memory(), datetime.now(UTC)
        found = self._deployer.status()
        if found.state in ("stopped", "silent"):
            # Nobody is there to be scaled; the count is the one it comes back with.
            decision = Decision(
                at=now,
                server=self._server,
                current=found.wanted,
                wanted=found.wanted,
                rule="none",
                reason=f"the server is {found.state}",
                error=f"the server {self._server!r} is {found.state}",
            )
            self._files.append(decision)
            return decision
        figures, trouble = self._figures()
        moment = Moment(self._server, datetime.now(UTC), found.wanted, figures, trouble)
        decision, memory = decide(self._spec, memory, moment)
        # Remembered before it is done: whoever is killed in between leaves a hold, not a repeat.
        self._files.remember(memory)
        decision = decision.model_copy(update={"error": self._carried_out(decision) or trouble})
        if decision.change != "hold" and memory.changed is not None:
            # Starting takes a while: what is measured from here on is measured of the new number.
            changed = memory.changed.model_copy(update={"at": datetime.now(UTC)})
            self._files.remember(memory.model_copy(update={"changed": changed}))
        self._files.append(decision)
        return decision

    def run(
        self,
        seconds: float | None = None,
        *,
        every: float = EVERY,
        ended: threading.Event | None = None,
        told: Callable[[Decision], None] | None = None,
    ) -> list[Decision]:
        """Decide every so many seconds, for so long, or until `ended`; the last 100 decisions."""
        ended = ended or threading.Event()
        begun = time.monotonic()
        taken: list[Decision] = []
        while True:
            started = time.monotonic()
            decision = self.decide()
            taken = [*taken[-99:], decision]
            if told is not None:
                told(decision)
            pause = max(0.0, every - (time.monotonic() - started))
            over = seconds is not None and time.monotonic() + pause - begun > seconds
            if over or ended.wait(pause):
                return taken

    def _figures(self) -> tuple[Figures | None, str]:
        try:
            return self._source.read(), ""
        except DependencyUnavailable as error:
            return None, error.text

    def _carried_out(self, decision: Decision) -> str:
        """Why the decision could not be carried out; "" when it was, or asks for nothing."""
        if decision.change == "hold":
            return ""
        try:
            self._deployer.scale(decision.wanted)
        except DependencyUnavailable as error:
            return error.text
        return ""


def autoscaled(settings: Settings, name: str) -> tuple[ServerSpec, AutoscalingSpec]:
    """A server that this autoscaler may scale.

    Raises SpecError (exit 2) for one that is not declared, or declares no autoscaling, and
    PolicyRefused (exit 9) for one in Kubernetes, which scales by itself.
    """
    server = find_server(settings.zoo, name)
    if server.autoscaling is None:
        raise SpecError(
            f"server {name!r} declares no autoscaling",
            remedy=f"Give it the key `autoscaling` in {settings.zoo / 'servers.yaml'}.",
        )
    if server.place == "kubernetes":
        raise PolicyRefused(
            f"server {name!r} runs in Kubernetes, where two autoscalers would fight",
            remedy="Its HorizontalPodAutoscaler (or KEDA's ScaledObject) follows the same rules.",
        )
    return server, server.autoscaling


def autoscaler_of(settings: Settings, name: str) -> Autoscaler:
    """The autoscaler of a declared server; errors as `autoscaled`.

    Figures come from FERRYMAN_PROMETHEUS_URL, and without one from the server's own page.
    """
    server, spec = autoscaled(settings, name)
    # It tells of every request, with its address: Prometheus' may hold a password.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    cores = server.resources.cpu
    source: FigureSource
    if settings.prometheus_url:
        source = PrometheusFigures(
            settings.prometheus_url, name, cores=cores, window=settings.prometheus_window
        )
    else:
        source = ScrapedFigures(endpoint_of(settings, name, server).url, cores=cores)
    return Autoscaler(name, spec, deployer_of(settings, name), source, files_of(settings, name))


def files_of(settings: Settings, name: str) -> AutoscalingFiles:
    """What the autoscaler of a server has written."""
    return AutoscalingFiles(settings.server_root(name))
