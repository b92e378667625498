"""Deploys replicas as hardened containers of this machine's engine, behind one front."""

import fcntl
import logging
import os
import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ferryman.deployment.container.config import (
    CONFIG_LABEL,
    HOME_LABEL,
    REPLICA_LABEL,
    SERVER_LABEL,
    Mount,
    home_digest,
    replica_config,
    replica_user,
)
from ferryman.deployment.container.engine import ContainerEngine
from ferryman.deployment.container.folders import close_channel, give_folders, opened_channel
from ferryman.deployment.container.report import name_of, report, why_ended
from ferryman.deployment.deployer import Deployment
from ferryman.deployment.process.front_admin import FrontAdmin
from ferryman.deployment.process.front_process import FrontProcess
from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.errors import DependencyUnavailable, SpecError
from ferryman.runtime.channel_path import channel_path
from ferryman.runtime.endpoints import endpoint_of
from ferryman.runtime.label_token import make_label_token
from ferryman.runtime.serving_command import replica_arguments
from ferryman.settings import Settings
from ferryman.spec.servers import ServerSpec, find_server
from ferryman.spec.serving import MAIN

_START_SECONDS = 90.0
_TERM_SECONDS = 20
_POLL_SECONDS = 0.1
# Containers are watched by the engine: the front starts none.
_FRONT = ("--no-children",)

logger = logging.getLogger(__name__)


class ContainerDeployer:
    """A front as a process of this machine, and containers that join it by its channel's folder.

    A container has no network: the front hands it connections. It is nobody's root, sees the
    server's verified copies of bundles read-only and writes the prediction log alone. It sees its
    folders under their names of this machine: what belongs to a server is found by its folder.
    """

    def __init__(
        self, settings: Settings, name: str = MAIN, server: ServerSpec | None = None
    ) -> None:
        self._settings = settings
        self._server = server or find_server(settings.zoo, name)
        if self._server.container is None:
            raise SpecError(f"server {name!r} is not declared with place: container")
        self._image = self._server.container.image
        self._endpoint = endpoint_of(settings, name, self._server)
        self._root = self._endpoint.root
        self._channel = channel_path(self._root)
        self._front = ProcessDeployer(settings, name, self._server, _FRONT)
        self._process = FrontProcess(self._root)
        self._admin = FrontAdmin(self._endpoint)
        self._labels = {SERVER_LABEL: name, HOME_LABEL: home_digest(settings.home)}

    def start(self) -> Deployment:
        """Start front and containers, or find them running; see `Deployer.start`.

        Containers of another image or other limits than declared are replaced, one set after the
        other has joined. An image that is not the declared one is PolicyRefused (exit 9).
        """
        with self._alone(), ContainerEngine() as engine:
            image = engine.find_image(self._image)
            self._start_front()
            self._converge(engine, image, int(self._admin.replicas()["wanted"]))
            return self._status(engine)

    def status(self) -> Deployment:
        """What is there now: the front, and every container with what it ended of, if it did."""
        with ContainerEngine() as engine:
            return self._status(engine)

    def scale(self, replicas: int) -> Deployment:
        """Run so many containers from now on; see `Deployer.scale`."""
        with self._alone(), ContainerEngine() as engine:
            image = engine.find_image(self._image)
            self._admin.replicas()  # no front: nothing is begun
            self._converge(engine, image, replicas)
            return self._status(engine)

    def stop(self) -> Deployment:
        """End the front, which lets its replicas finish, and every container of this server."""
        with self._alone(), ContainerEngine() as engine:
            for held in engine.held(self._labels):
                if held.state == "paused":  # it would hear no signal
                    engine.end(held.id, 0)
            stopped = self._front.stop()
            for held in engine.held(self._labels):
                engine.end(held.id, _TERM_SECONDS)
            close_channel(self._channel)
            return stopped

    def _start_front(self) -> None:
        for folder in (self._root, self._settings.predictions_root):
            folder.mkdir(parents=True, exist_ok=True)
        give_folders(self._settings.predictions_root, replica_user())
        make_label_token(self._root)  # a front of an earlier release has made none
        if self._process.running() is not None:
            self._front.start()
            return
        with opened_channel(self._channel, replica_user()):
            self._front.start()

    def _converge(self, engine: ContainerEngine, image: str, wanted: int) -> None:
        """So many containers of the declared kind; those that go, go after the new ones joined."""
        config = self._config()
        keep, leave = [], []
        for held in engine.held(self._labels):
            if held.state not in {"running", "restarting"}:
                logger.warning("container %s: %s", held.name, why_ended(engine, held))
                engine.end(held.id, 0)  # what a killed deployer or a lost container left behind
            elif held.image == image and held.labels.get(CONFIG_LABEL) == config_digest(config):
                keep.append(held)
            else:
                leave.append(held)
        keep, surplus = keep[:wanted], keep[wanted:]
        new = [self._create(engine, image, config) for _ in range(wanted - len(keep))]
        try:
            self._wait_until_joined(engine, {name_of(held) for held in keep}, set(new))
        except DependencyUnavailable:
            self._remove(engine, new)
            raise
        leaving = [*surplus, *leave]
        self._admin.scale(wanted, [name_of(held) for held in leaving])
        for held in leaving:
            engine.end(held.id, _TERM_SECONDS)

    def _create(self, engine: ContainerEngine, image: str, config: Mapping[str, Any]) -> str:
        name = f"{self._endpoint.server}-{secrets.token_hex(4)}"
        command = replica_arguments(
            self._root,
            self._settings.predictions_root,
            self._channel,
            name,
            self._server.resources.threads,
        )
        if self._settings.signing_public_key is not None:
            command += ["--public-key", str(self._settings.signing_public_key.resolve())]
        labels = {**config["labels"], REPLICA_LABEL: name}
        engine.create(
            image, f"ferryman-{name}", ["replica", *command], {**config, "labels": labels}
        )
        logger.info("container %s started from %s", name, self._image)
        return name

    def _config(self) -> dict[str, Any]:
        mounts = [
            Mount(self._root),
            # What a container may read of the server's state, it may not administrate it with.
            Mount(Path(os.devnull), target=self._endpoint.token_file),
            Mount(Path(os.devnull), target=self._endpoint.label_token_file),
            Mount(self._channel.parent, writable=True),
            Mount(self._settings.predictions_root, writable=True),
        ]
        if self._settings.signing_public_key is not None:
            mounts.append(Mount(self._settings.signing_public_key.resolve()))
        return replica_config(self._server.resources, tuple(mounts), self._labels)

    def _wait_until_joined(self, engine: ContainerEngine, kept: set[str], new: set[str]) -> None:
        """Until all have joined; one that was there before and is slow, or fails, is only told."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            entries = _by_name(self._admin.replicas())
            missing = {name for name in kept | new if not _has_joined(entries.get(name))}
            if not missing:
                return
            for held in engine.held(self._labels):
                if name_of(held) in missing & new and (held.restarts or not held.is_alive):
                    raise DependencyUnavailable(
                        f"container {held.name} does not stay: {why_ended(engine, held)}",
                        remedy="Give it what it needs under `resources` of servers.yaml.",
                    )
            time.sleep(_POLL_SECONDS)
        told = f"containers {', '.join(sorted(missing))} did not join in {_START_SECONDS:.0f} s"
        if missing & new:
            raise DependencyUnavailable(
                told, remedy=f"Read {self._root / 'server.log'} and their output (docker logs)."
            )
        logger.warning("%s", told)

    def _remove(self, engine: ContainerEngine, names: Collection[str]) -> None:
        for held in engine.held(self._labels):
            if name_of(held) in names:
                engine.end(held.id, 0)

    def _status(self, engine: ContainerEngine) -> Deployment:
        front = self._front.status()
        content: Mapping[str, Any] = {}
        if self._process.running() is not None and front.state != "silent":
            content = self._admin.replicas()
        replicas = report(engine, engine.held(self._labels), _by_name(content))
        told = [f"{one.name}: {one.detail}" for one in replicas if one.detail]
        for ended in told:
            logger.warning("container %s", ended)
        detail = "; ".join([front.detail, *told] if front.detail else told)
        return replace(front, detail=detail, replicas=replicas)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two that start or scale at once would each make what the other makes."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / "containers.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def config_digest(config: Mapping[str, Any]) -> str:
    """The label by which containers of a changed declaration are told apart."""
    return str(config["labels"][CONFIG_LABEL])


def _by_name(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {entry["name"]: entry for entry in content.get("replicas", [])}


def _has_joined(entry: Mapping[str, Any] | None) -> bool:
    return entry is not None and entry["state"] == "ready"
