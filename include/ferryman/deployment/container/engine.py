"""The Docker engine of this machine: its images and containers, and what it says of them.

Nothing here waits long for a daemon that is away or hangs: DependencyUnavailable (exit 6) says so.
"""

import logging
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, cast

from ferryman.errors import DependencyUnavailable, PolicyRefused
from ferryman.runtime.json_logs import message_of

# A daemon that hangs is told apart fast; one that works may take a while to make a container.
_HELLO_SECONDS = 5
_ANSWER_SECONDS = 60
_ANY = "1.41"
_SOCKET = "unix://"
_DEFAULT_ADDRESS = "unix:///var/run/docker.sock"

ContainerState = Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Held:
    """A container that the engine holds, running or not."""

    id: str
    name: str
    state: ContainerState
    image: str
    labels: Mapping[str, str]
    exit_code: int
    error: str
    restarts: int
    memory: int
    out_of_memory: bool

    @property
    def is_alive(self) -> bool:
        """Whether its process runs, or the engine is about to start it again."""
        return self.state in {"created", "running", "restarting"}


@dataclass(frozen=True)
class Ends:
    """How often a container reached its memory limit, and its last exit code if that is known."""

    ooms: int
    exit_code: int | None


class ContainerEngine:
    """One connection to the engine of this machine; `close` it, or use it as a context."""

    def __init__(self) -> None:
        import docker  # type: ignore[import-untyped]
        from docker.utils import kwargs_from_env  # type: ignore[import-untyped]

        self.address = _DEFAULT_ADDRESS
        with self._speaking():
            given = kwargs_from_env()  # DOCKER_HOST and its kin, as the docker command reads them
            self.address = given.get("base_url", _DEFAULT_ADDRESS)
            if not self.address.startswith(_SOCKET):
                raise PolicyRefused(
                    f"the engine at {self.address} is not this machine's",
                    remedy="Replicas join by a local socket: unset DOCKER_HOST, or use place: "
                    "kubernetes.",
                )
            self._knock()
            # Asked first: a client that asks by itself, and gets no answer, is never closed.
            with closing(docker.APIClient(version=_ANY, timeout=_HELLO_SECONDS, **given)) as hello:
                version = hello.version(api_version=False)["ApiVersion"]
            self._client = docker.DockerClient(version=version, timeout=_ANSWER_SECONDS, **given)

    def __enter__(self) -> "ContainerEngine":
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def find_image(self, declared: str) -> str:
        """The id of the declared image, NAME@sha256:... or sha256:... (the id itself).

        Raises DependencyUnavailable (exit 6) where it is not on this machine, PolicyRefused (exit
        9) where its name is, but with other content only.
        """
        from docker.errors import ImageNotFound  # type: ignore[import-untyped]

        name, _, digest = declared.rpartition("@")
        with self._speaking():
            try:
                image = self._client.images.get(declared)
            except ImageNotFound:
                self._refuse_absent(name, digest)
            known = [known.rpartition("@")[2] for known in image.attrs.get("RepoDigests") or []]
            if digest not in (image.id, *known):
                raise PolicyRefused(
                    f"the engine gives {image.id} for the declared image {declared}",
                    remedy="Declare the digest of the image that was built and tested.",
                )
        return str(image.id)

    def create(self, image: str, name: str, command: list[str], config: dict[str, Any]) -> str:
        """Create a container and start it; its id. What cannot start is removed again."""
        with self._speaking():
            container = self._client.containers.create(image, command, name=name, **config)
            try:
                container.start()
            except BaseException:
                container.remove(force=True)
                raise
        return str(container.id)

    def held(self, labels: Mapping[str, str]) -> list[Held]:
        """The containers with all these labels, running or not, oldest first."""
        from docker.errors import NotFound

        wanted = [f"{key}={value}" for key, value in labels.items()]
        found = []
        with self._speaking():
            for entry in self._client.api.containers(all=True, filters={"label": wanted}):
                try:
                    found.append(_held(self._client.api.inspect_container(entry["Id"])))
                except NotFound:
                    continue  # it went while we looked
        return [held for _, held in sorted(found, key=lambda pair: pair[0])]

    def ends(self, container: str) -> "Ends":
        """How a container ended before it was started again, as far as the engine remembers.

        It keeps the last few hundred events; a restarted container has forgotten why it ended.
        """
        filters = {"container": container, "event": ["oom", "die"]}
        with self._speaking():
            events = self._client.api.events(
                since=0, until=int(time.time()) + 1, filters=filters, decode=True
            )
            ooms, code = 0, None
            for event in events:
                if event["Action"] == "die":
                    code = int(event["Actor"]["Attributes"]["exitCode"])
                else:
                    ooms += 1
        return Ends(ooms, code)

    def end(self, container: str, seconds: int) -> None:
        """TERM, KILL after so many seconds, then remove it; one that is gone is fine."""
        from docker.errors import NotFound

        with self._speaking():
            try:
                self._client.api.stop(container, timeout=seconds)
                self._client.api.remove_container(container, force=True)
            except NotFound:
                logger.info("container %s is gone already", container[:12])

    def last_words(self, container: str) -> str:
        """The last line of a container's output."""
        from docker.errors import NotFound

        with self._speaking():
            try:
                text: bytes = self._client.api.logs(container, tail=5)
            except NotFound:
                return ""
        lines = text.decode(errors="replace").strip().splitlines()
        return message_of(lines[-1])[-500:] if lines else ""

    def _knock(self) -> None:
        """The library leaves its socket open when nobody listens; and its reason is a long one."""
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.settimeout(_HELLO_SECONDS)
            try:
                knocking.connect(self.address.removeprefix(_SOCKET))
            except OSError as error:
                raise self._unreachable(error.strerror or str(error)) from error

    def _unreachable(self, reason: str) -> DependencyUnavailable:
        return DependencyUnavailable(
            f"docker daemon not reachable at {self.address}: {reason}",
            remedy="Start it (systemctl start docker), and be allowed to use its socket.",
        )

    def _refuse_absent(self, name: str, digest: str) -> NoReturn:
        others = self._client.images.list(name=name) if name else []
        if others:
            raise PolicyRefused(
                f"image {name} is here as {others[0].id}, declared is {digest}",
                remedy="Pull the declared digest, or declare the one that was built and tested.",
            )
        how = f"docker pull {name}@{digest}" if name else "docker build ."
        raise DependencyUnavailable(
            f"image {name or digest} is not on this machine", remedy=f"Run: {how}"
        )

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Turns what the engine refuses, and its silence, into errors with a remedy."""
        from docker.errors import APIError, DockerException
        from requests.exceptions import RequestException

        try:
            yield
        except APIError as error:
            raise DependencyUnavailable(
                f"the Docker engine refused: {error.explanation or error}",
                remedy="Read the daemon's log; docker info says what it has.",
            ) from error
        except (DockerException, RequestException) as error:
            raise self._unreachable(_reason(error)) from error


def _held(facts: Mapping[str, Any]) -> tuple[str, Held]:
    state, host = facts["State"], facts["HostConfig"]
    held = Held(
        id=facts["Id"],
        name=facts["Name"].removeprefix("/"),
        state=cast("ContainerState", state["Status"]),
        image=facts["Image"],
        labels=facts["Config"]["Labels"] or {},
        exit_code=state["ExitCode"],
        error=state["Error"],
        restarts=facts["RestartCount"],
        memory=host["Memory"],
        out_of_memory=state["OOMKilled"],
    )
    return facts["Created"], held


def _reason(error: Exception) -> str:
    """The innermost cause: the outer ones only say that something went wrong."""
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    return str(cause) or type(cause).__name__
