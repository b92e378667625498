"""The deployer port: start, look at and stop the serving program."""

from dataclasses import dataclass
from typing import Literal, Protocol

DeploymentState = Literal["ready", "not_ready", "silent", "stopped"]


@dataclass(frozen=True)
class Replica:
    """One of a server's replicas. `name` is what its place calls it: a pid, a container, a pod."""

    name: str
    state: DeploymentState
    detail: str = ""


@dataclass(frozen=True)
class Deployment:
    """A deployed server. `process` is what its place calls the whole of it, "" when stopped.

    ready: it answers, and every model that it remembers is loaded; not_ready: it answers, but a
    model is still loading or could not be loaded; silent: it is there, but does not answer.
    """

    state: DeploymentState
    url: str
    process: str = ""
    detail: str = ""
    wanted: int = 1
    replicas: tuple[Replica, ...] = ()

    def __str__(self) -> str:
        who = f" (process {self.process})" if self.process else ""
        return f"serving at {self.url}{who}: {self.state.replace('_', ' ')}" + (
            f"; {self.detail}" if self.detail else ""
        )


class Deployer(Protocol):
    """Deploys one declared server: its replicas behind one address."""

    def start(self) -> Deployment:
        """Start the server, or find it running; returns once it answers and has loaded what it can.

        Raises DependencyUnavailable (exit 6) when it cannot start, with the reason.
        """
        ...

    def status(self) -> Deployment:
        """What is there now."""
        ...

    def scale(self, replicas: int) -> Deployment:
        """Run so many replicas from now on; returns once they answer, or have gone.

        What a leaving replica has begun to answer it answers; no request is dropped. The number is
        remembered until the next `scale`, over restarts. Raises DependencyUnavailable (exit 6) when
        there is no server to scale, or no room for it.
        """
        ...

    def stop(self) -> Deployment:
        """End the server and all its processes; stopped already is fine."""
        ...
