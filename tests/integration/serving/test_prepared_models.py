"""What replicas have prepared and nobody will serve, they let go of."""

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from ferryman.errors import Superseded
from ferryman.serving.front.fleet import Fleet, Member
from ferryman.serving.front.front_models import FrontModels
from ferryman.serving.front.trial import Trial
from ferryman.serving.models.model_copies import ModelCopies
from ferryman.serving.models.served_models import ServedModels
from ferryman.serving.models.served_pointers import POINTERS, Pointer
from ferryman.serving.sockets.channel import Channel, Message


class ReplicaEnd:
    """The models of a replica, at its end of a front's channel, without the process around."""

    def __init__(self, sock: socket.socket, root: Path) -> None:
        self.served = ServedModels(root)
        self.served.restore()
        self.heard: list[str] = []
        self._channel = Channel(sock, self._hear, lambda: None)
        told: Message = {"has": 0, "got": 0, "answered": 0, "ready": True}
        self._channel.send({"kind": "hello", "name": "r1", "served": {}, "problems": {}, **told})

    def _hear(self, message: Message, descriptor: int | None) -> None:
        if descriptor is not None:
            os.close(descriptor)
        kind = message["kind"]
        if kind in ("prepare", "swap"):
            pointer = Pointer.model_validate(message["pointer"])
            getattr(self.served, kind)(message["model"], pointer)
            self._channel.answer(message, value=True)
        elif kind == "discard":
            self.served.discard(message["model"])
        self.heard.append(kind)


def test_a_pointer_that_cannot_be_written_leaves_nothing_prepared(
    tmp_path: Path, make_bundle: Any
) -> None:
    root, bundles = tmp_path / "server", tmp_path / "bundles"
    (root / POINTERS).mkdir(parents=True)  # nothing can be written in its place
    bundle = make_bundle(bundles)
    pointer = Pointer(version=1, epoch=1, digest=bundle.digest)

    async def live() -> None:
        models = FrontModels(root, ModelCopies(root, bundles), Trial(root))
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ready: list[Member] = []
        with socket.socket() as public:
            fleet = Fleet(public, {"kind": "welcome"}, ready.append, lambda: None, lambda: None)
            fleet.meet(near)
            replica = ReplicaEnd(far, root)
            async with asyncio.timeout(20):
                while not ready:
                    await asyncio.sleep(0.001)
                assert await models.settle(fleet, ready[0])
                with pytest.raises(OSError, match=POINTERS):
                    await models.load(fleet, "tiny", pointer, str(bundle.folder))
                while "discard" not in replica.heard:
                    await asyncio.sleep(0.001)
            with pytest.raises(Superseded, match="was not prepared here"):
                replica.served.swap("tiny", pointer)
            (root / POINTERS).rmdir()
            assert await models.load(fleet, "tiny", pointer, str(bundle.folder))
            assert replica.served.get("tiny") is not None
            ready[0].channel.close()

    asyncio.run(live())
