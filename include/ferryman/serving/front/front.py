"""The front of a server: it owns the ports, hands connections over, keeps replicas alive.

It scores nothing. If it is killed, its replicas go on with the sockets that they hold, and the
next front takes over from them.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from uvicorn.server import ServerState

from ferryman.errors import DependencyUnavailable
from ferryman.runtime.admin_token import make_token
from ferryman.runtime.channel_path import channel_path, make_channel_folder
from ferryman.runtime.files import read_json, write_json
from ferryman.runtime.label_token import make_label_token
from ferryman.runtime.serving_command import (
    FRONT_LOCK,
    FRONT_STATE,
    MODULE,
    replica_arguments,
)
from ferryman.runtime.traffic import Traffic, TrafficState
from ferryman.serving.front.admin_app import AdminApp
from ferryman.serving.front.children import Children, resident_bytes
from ferryman.serving.front.fleet import Fleet, Member
from ferryman.serving.front.front_models import FrontModels
from ferryman.serving.front.merged_metrics import merge_pages
from ferryman.serving.front.shadow_process import ShadowPlace
from ferryman.serving.front.shadows import Shadows
from ferryman.serving.front.trial import Trial
from ferryman.serving.models.model_copies import ModelCopies
from ferryman.serving.models.served_pointers import Pointer
from ferryman.serving.sockets.direct_protocol import BoundedProtocol
from ferryman.serving.sockets.file_limit import raise_file_limit
from ferryman.serving.sockets.handed_connections import protocol_config
from ferryman.serving.sockets.inherited_socket import Met, open_public
from ferryman.serving.sockets.listening import Accepting, listen

_REPLICAS_FILE = "replicas.json"
_JOIN_AGAIN_SECONDS = 3.0
_END_SECONDS = 10.0
_PAGE_SECONDS = 2.0
_FLUSH_SECONDS = 40.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FrontOptions:
    """What the command line says.

    `memory` is in bytes, of one replica; those that join by themselves are watched by who starts
    them.
    """

    root: Path
    bundles: Path
    predictions: Path
    host: str
    port: int
    admin_port: int
    replicas: int = 1
    threads: int = 1
    memory: int = 0
    public_key: Path | None = None
    upload: bool = False
    children: bool = True
    watched: bool = False


class Front:
    """One front; it is what the administration port asks (`Administration`)."""

    def __init__(self, options: FrontOptions, public: socket.socket, command: list[str]) -> None:
        self._options = options
        copies = ModelCopies(options.root, options.bundles, options.public_key)
        trial = Trial(options.root, options.memory, options.threads, options.public_key)
        place = ShadowPlace(
            options.root,
            options.predictions,
            threads=options.threads,
            memory=options.memory,
            public_key=options.public_key,
        )
        self._shadows = Shadows(place)
        self._models = FrontModels(
            options.root, copies, trial, self._shadows, memory=options.memory
        )
        revive = command if options.children and not options.watched else []
        self._fleet = Fleet(
            public,
            {"kind": "welcome", "front": revive},
            self._settle,
            self._changed,
            self._page,
        )
        self._children = Children(
            self._fleet,
            _remembered_count(options),
            options.memory if options.children else 0,
            self._replica_command if options.children else None,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._public = public

    async def run(self, admin: socket.socket, channel: socket.socket, met: Sequence[Met]) -> None:
        """Hand connections over until TERM or INT; then end every replica, and return.

        `met` are replicas that have connected to the channel already.
        """
        loop = asyncio.get_running_loop()
        ending = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ending.set)
        token = make_token(self._options.root / "admin.token")
        make_label_token(self._options.root)
        config, state = protocol_config(AdminApp(self, token)), ServerState()
        server = await loop.create_server(
            lambda: BoundedProtocol(config, state, {}, loop), sock=admin
        )
        joining = Accepting(channel, self._fleet.meet)
        accepting = Accepting(self._public, self._take)
        for orphan in met:
            self._fleet.meet(orphan.sock, orphan.packet)
        if met:
            self._children.wait_before_start(_JOIN_AGAIN_SECONDS)
        supervision = loop.create_task(self._children.supervise())
        logger.info("front of %s on port %d", self._options.root, self._options.port)
        await ending.wait()
        logger.info("ending")
        self._fleet.ending = True
        accepting.stop()
        self._public.close()
        supervision.cancel()
        await asyncio.gather(
            self._children.end_all(_END_SECONDS), self._shadows.end_all(_END_SECONDS)
        )
        joining.stop()
        self._fleet.close()
        server.close()
        for connection in list(state.connections):
            connection.shutdown()

    def models(self) -> dict[str, dict[str, Any]]:
        """What is served, by model."""
        return {name: self._models.describe(self._fleet, name) for name in self._models.remembered}

    async def check(self, name: str, bundle: str, digest: str) -> None:
        """See FrontModels.check."""
        await self._models.check(name, bundle, digest)

    async def load(self, name: str, pointer: Pointer, bundle: str) -> bool:
        """See FrontModels.load."""
        return await self._models.load(self._fleet, name, pointer, bundle)

    async def expose(self, name: str, traffic: Traffic, bundle: str) -> TrafficState:
        """See FrontTraffic.expose."""
        return await self._models.traffic.expose(self._fleet, name, traffic, bundle)

    async def withdraw(self, name: str, fence: int) -> None:
        """See FrontTraffic.withdraw."""
        await self._models.traffic.withdraw(self._fleet, name, fence)

    async def traffic(self, name: str) -> TrafficState | None:
        """See FrontTraffic.state."""
        return await self._models.traffic.state(self._fleet, name)

    async def flush(self) -> None:
        """Wait until every replica has written its prediction log, and what shadows left to it."""
        await self._shadows.flush()
        members = self._fleet.in_state("ready", "leaving")
        answers = await self._fleet.ask_all(members, {"kind": "flush"}, _FLUSH_SECONDS)
        for member, answer in answers.items():
            # One that has gone in the meantime flushed as it went.
            if isinstance(answer, BaseException) and not member.gone.is_set():
                raise answer

    def replicas(self) -> dict[str, Any]:
        """How many are wanted, and which there are."""
        return {
            "wanted": self._children.wanted,
            "restarts": self._children.restarts,
            "last_words": self._children.last_words,
            "replicas": [self._describe(member) for member in self._fleet.members.values()],
        }

    async def scale(self, count: int, leave: list[str]) -> None:
        """Have so many replicas from now on, over restarts."""
        content = {"count": count}
        await asyncio.to_thread(write_json, self._options.root / _REPLICAS_FILE, content)
        await self._children.scale(count, leave)

    def _describe(self, member: Member) -> dict[str, Any]:
        hangs = member.state == "ready" and member.hangs
        missing = sorted(self._models.remembered.keys() - member.served.keys())
        return {
            "name": member.name,
            "pid": member.pid,
            "state": "hangs" if hangs else member.state,
            "connections": member.connections,
            "memory": resident_bytes(member.pid),
            "missing": missing if member.state == "ready" else [],
            "problems": member.problems,
        }

    def _changed(self) -> None:
        self._children.changed.set()

    def _take(self, connected: socket.socket) -> None:
        self._fleet.connections_taken += 1
        self._fleet.give(connected.detach())

    def _settle(self, member: Member) -> None:
        task = asyncio.get_running_loop().create_task(self._settle_member(member))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle_member(self, member: Member) -> None:
        if not await self._models.settle(self._fleet, member):
            self._children.end(member, "it cannot serve what the others serve")

    def _replica_command(self, name: str) -> Sequence[str]:
        options = self._options
        channel = channel_path(options.root)
        arguments = replica_arguments(
            options.root, options.predictions, channel, name, options.threads
        )
        if options.public_key is not None:
            arguments += ["--public-key", str(options.public_key)]
        if options.upload:
            arguments.append("--upload")
        return [sys.executable, "-m", MODULE, "replica", *arguments]

    async def _page(self) -> str:
        members = self._fleet.in_state("ready", "leaving")
        answers, of_shadows = await asyncio.gather(
            self._fleet.ask_all(members, {"kind": "metrics"}, _PAGE_SECONDS),
            self._shadows.pages(),
        )
        pages = [answer for answer in answers.values() if isinstance(answer, str)]
        return merge_pages([*pages, *of_shadows, self._own_page()])

    def _own_page(self) -> str:
        ready = len(self._fleet.in_state("ready"))
        who = 'replica="front"'
        return (
            "# HELP ferryman_replicas Replicas of this server.\n"
            "# TYPE ferryman_replicas gauge\n"
            f'ferryman_replicas{{{who},state="ready"}} {ready}\n'
            f'ferryman_replicas{{{who},state="wanted"}} {self._children.wanted}\n'
            "# HELP ferryman_replica_restarts_total Replicas that were started again.\n"
            "# TYPE ferryman_replica_restarts_total counter\n"
            f"ferryman_replica_restarts_total{{{who}}} {self._children.restarts}\n"
            "# HELP ferryman_replica_memory_limit_bytes What a replica may hold; 0 is no limit.\n"
            "# TYPE ferryman_replica_memory_limit_bytes gauge\n"
            f"ferryman_replica_memory_limit_bytes{{{who}}} {self._children.memory}\n"
            "# HELP ferryman_connections_total Connections that were accepted.\n"
            "# TYPE ferryman_connections_total counter\n"
            f"ferryman_connections_total{{{who}}} {self._fleet.connections_taken}\n"
        )


def run_front(options: FrontOptions, command: list[str]) -> None:
    """Run a front until TERM or INT.

    `command` starts one like it. Raises DependencyUnavailable (exit 6) when a port is taken, or
    another front of this server runs.
    """
    raise_file_limit()
    options.root.mkdir(parents=True, exist_ok=True)
    path = channel_path(options.root)
    with _alone(options.root):
        make_channel_folder(path)
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as channel:
            channel.bind(str(path))
            channel.listen(128)
            channel.setblocking(False)
            public, met = open_public(channel, options.host, options.port)
            with public, listen(options.host, options.admin_port) as admin:
                front = Front(options, public, command)
                _remember(options)
                try:
                    asyncio.run(front.run(admin, channel, met))
                finally:
                    (options.root / FRONT_STATE).unlink(missing_ok=True)
                    path.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    with (root / FRONT_LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DependencyUnavailable(
                f"a front of {root} runs already", remedy="Use it, or stop it first."
            ) from None
        yield


def _remember(options: FrontOptions) -> None:
    """Tell deployers who runs: a pid comes again, a pid and its start do not."""
    content = {
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "group": os.getpgrp(),
        "port": options.port,
        "admin_port": options.admin_port,
    }
    write_json(options.root / FRONT_STATE, content)


def _remembered_count(options: FrontOptions) -> int:
    try:
        return max(1, int(read_json(options.root / _REPLICAS_FILE)["count"]))
    except FileNotFoundError:
        return options.replicas
    except (ValueError, TypeError, KeyError) as error:
        logger.warning("%s cannot be read: %s", options.root / _REPLICAS_FILE, error)
        return options.replicas
