"""What a front serves: it brings bundles, lets all replicas prepare, then all swap."""

import asyncio
import logging
from pathlib import Path
from typing import Any

from ferryman.errors import DependencyUnavailable, FerrymanError
from ferryman.serving.front.fleet import Fleet, Member
from ferryman.serving.front.front_traffic import FrontTraffic
from ferryman.serving.front.shadows import Shadows
from ferryman.serving.front.trial import Trial
from ferryman.serving.models.model_copies import ModelCopies
from ferryman.serving.models.served_pointers import (
    Pointer,
    read_pointers,
    refuse_older,
    write_pointers,
)

_PREPARE_SECONDS = 120.0
_SWAP_SECONDS = 10.0

logger = logging.getLogger(__name__)


class FrontModels:
    """The one writer of served.json. One change at a time; predictions go on meanwhile.

    `traffic` gives candidates shares beside what is served.
    """

    def __init__(
        self,
        root: Path,
        copies: ModelCopies,
        trial: Trial,
        shadows: Shadows | None = None,
        *,
        memory: int = 0,
    ) -> None:
        self._root = root
        self._copies = copies
        self._trial = trial
        self._pointers = read_pointers(root)
        self.traffic = FrontTraffic(root, copies, self._pointer, shadows, memory=memory)
        self._lock = asyncio.Lock()

    @property
    def remembered(self) -> dict[str, Pointer]:
        """What is to be served, loaded or not."""
        return self._pointers.served

    async def check(self, name: str, bundle: str, digest: str) -> None:
        """Bring a candidate and try it in a process of its own; what is served does not change."""
        async with self._lock:
            await asyncio.to_thread(self._copies.bring, name, bundle, digest)
        await self._trial.run(name, digest)

    async def load(self, fleet: Fleet, name: str, pointer: Pointer, bundle: str) -> bool:
        """Serve a released version in every replica; False when all serve it already.

        Raises Superseded (exit 5) for an epoch at or below the one that is served, IntegrityBroken
        (exit 7) for a bundle that is not what was released; then nothing changes.
        """
        async with self._lock:
            known = self.remembered.get(name)
            if known == pointer and self._is_loaded(fleet, name):
                return False
            refuse_older(name, known, pointer)
            await asyncio.to_thread(self._copies.bring, name, bundle, pointer.digest)
            able = await self._prepare(fleet, name, pointer)
            # Remember first: a crash in between restarts on the version that was decided anyway.
            pointers = self._pointers.with_model(name, pointer)
            try:
                await asyncio.to_thread(write_pointers, self._root, pointers)
            except BaseException:
                _discard(able, name)
                raise
            self._pointers = pointers
            await self._swap(fleet, able, name, pointer)
            self.traffic.end(name)
            await self._drop_old(name)
        logger.info("%s now serves version %d (epoch %d)", name, pointer.version, pointer.epoch)
        return True

    async def settle(self, fleet: Fleet, member: Member) -> bool:
        """Bring a replica that has just loaded what it found to what is served now.

        False when it cannot: it must be replaced.
        """
        async with self._lock:
            for name, pointer in self.remembered.items():
                if name in member.problems or member.served.get(name) == pointer.epoch:
                    continue
                try:
                    await member.channel.ask(_message("prepare", name, pointer), _PREPARE_SECONDS)
                    await member.channel.ask(_message("swap", name, pointer), _SWAP_SECONDS)
                except FerrymanError as error:
                    logger.error("replica %s cannot follow: %s", member.name, error)
                    return False
                member.served[name] = pointer.epoch
            async with self.traffic.settled(member, self.remembered):
                fleet.admit(member)
            return True

    def _pointer(self, name: str) -> Pointer | None:
        return self.remembered.get(name)

    async def _drop_old(self, name: str) -> None:
        served = (self.remembered.get(name), self._pointers.previous.get(name))
        kept = {one.digest for one in served if one} | self.traffic.in_use(name)
        await asyncio.to_thread(self._copies.drop_old, name, kept)

    def describe(self, fleet: Fleet, name: str) -> dict[str, Any]:
        """What is served of a model, and whether every replica that answers has loaded it."""
        problems = (member.problems.get(name, "") for member in fleet.in_state("ready"))
        return {
            "model": name,
            **self.remembered[name].model_dump(),
            "loaded": self._is_loaded(fleet, name),
            "problem": next((problem for problem in problems if problem), ""),
        }

    def _is_loaded(self, fleet: Fleet, name: str) -> bool:
        epoch = self.remembered[name].epoch
        ready = fleet.in_state("ready")
        return bool(ready) and all(member.served.get(name) == epoch for member in ready)

    async def _prepare(self, fleet: Fleet, name: str, pointer: Pointer) -> list[Member]:
        """Those that could prepare; the error where a replica finds the bundle wanting."""
        answers = await fleet.ask_all(
            _ready(fleet), _message("prepare", name, pointer), _PREPARE_SECONDS
        )
        able = [member for member, answer in answers.items() if not _failed(answer)]
        verdicts = [error for error in answers.values() if _failed(error)]
        wanting = [error for error in verdicts if not isinstance(error, DependencyUnavailable)]
        if wanting or not able:
            _discard(able, name)
            raise (wanting or verdicts)[0]
        return able

    async def _swap(self, fleet: Fleet, able: list[Member], name: str, pointer: Pointer) -> None:
        answers = await fleet.ask_all(able, _message("swap", name, pointer), _SWAP_SECONDS)
        for member, answer in answers.items():
            if not _failed(answer):
                member.served[name] = pointer.epoch
                member.problems.pop(name, None)
        for member in fleet.in_state("ready"):
            if member.served.get(name) != pointer.epoch:
                fleet.send_away(member, f"it cannot serve {name} version {pointer.version}")


def _ready(fleet: Fleet) -> list[Member]:
    members = fleet.in_state("ready")
    if not members:
        raise DependencyUnavailable("no replica is ready", remedy="Try again; read the server log.")
    return members


def _message(kind: str, name: str, pointer: Pointer) -> dict[str, Any]:
    return {"kind": kind, "model": name, "pointer": pointer.model_dump()}


def _discard(members: list[Member], name: str) -> None:
    """Let go of what was prepared: it takes memory in each of them."""
    for member in members:
        member.channel.send({"kind": "discard", "model": name})


def _failed(answer: Any) -> bool:
    return isinstance(answer, BaseException)
