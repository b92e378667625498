"""The shares that a front gives to candidates, in all replicas with one deadline.

Nothing of a share outlives the front but the highest fence: replicas go on to the end of the lease,
and whoever holds it gives the share again.
"""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

from ferryman.errors import (
    DependencyUnavailable,
    FerrymanError,
    IntegrityBroken,
    SpecError,
    Superseded,
)
from ferryman.runtime.traffic import Traffic, TrafficState, VariantFigures, merged
from ferryman.serving.front.children import resident_bytes
from ferryman.serving.front.fences import Fences
from ferryman.serving.front.fleet import Fleet, Member
from ferryman.serving.front.shadows import Shadows
from ferryman.serving.models.model_copies import ModelCopies
from ferryman.serving.models.served_pointers import Pointer

_PREPARE_SECONDS = 120.0
_TELL_SECONDS = 5.0

logger = logging.getLogger(__name__)


class _Given:
    """A share as this front gave it."""

    def __init__(self, traffic: Traffic, until: float) -> None:
        self.traffic = traffic
        self.until = until
        self.followers: set[Member] = set()

    @property
    def remaining(self) -> float:
        return self.until - time.monotonic()


class FrontTraffic:
    """Shares by model, changed one at a time for each: a slow candidate keeps no other waiting.

    `served` tells what is served of a model. `memory` is in bytes, of one replica; 0: any.
    """

    def __init__(
        self,
        root: Path,
        copies: ModelCopies,
        served: Callable[[str], Pointer | None],
        shadows: Shadows | None = None,
        *,
        memory: int = 0,
    ) -> None:
        self._memory = memory
        self._copies = copies
        self._served = served
        self._shadows = shadows
        self._fences = Fences(root)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._given: dict[str, _Given] = {}
        self._loading: dict[str, str] = {}
        # Models whose replicas this front has told what to do: a share that it did not give, ends.
        self._decided: set[str] = set()

    def in_use(self, name: str) -> set[str]:
        """Digests of candidates, whose copies must stay."""
        given = self._current(name)
        found = {self._loading.get(name), None if given is None else given.traffic.digest}
        return {digest for digest in found if digest}

    async def expose(self, fleet: Fleet, name: str, traffic: Traffic, bundle: str) -> TrafficState:
        """Give a candidate its share in every ready replica, or renew it; the lease begins now.

        Raises Superseded (exit 5) beside another epoch than the served one, and below the highest
        fence; IntegrityBroken (exit 7) for a candidate that cannot be used: nobody gets it then.
        """
        until = time.monotonic() + traffic.lease
        async with self._locks[name]:
            self._check_epoch(name, traffic)
            await self._fences.check(name, traffic.fence)
            known, members = self._current(name), fleet.in_state("ready")
            is_new = known is None or not known.traffic.is_renewed_by(traffic)
            if is_new:
                await self._bring(fleet, members, name, traffic, bundle)
            if traffic.variant == "shadow":
                await self._shadow(name).follow(name, traffic, until)
            elif self._shadows is not None:
                self._shadows.end(name)
            self._check_epoch(name, traffic)
            if time.monotonic() >= until:
                raise DependencyUnavailable(
                    f"{name}: loading the candidate took longer than its lease of "
                    f"{traffic.lease:g} s",
                    remedy="Ask again: it is loaded now.",
                )
            given = self._given[name] = _Given(traffic, until)
            self._decided.add(name)
            found = await asyncio.gather(*(self._tell(one, name, given) for one in members))
            given.followers = {one for one, follows in zip(members, found, strict=True) if follows}
            self._check_epoch(name, traffic)
            if not given.followers:
                self._given.pop(name, None)
                text = f"no replica gives the candidate of {name} its share"
                raise DependencyUnavailable(text, remedy="Try again; read the server's log.")
            if is_new:
                logger.info("%s: %s has %g of the requests", name, traffic.variant, traffic.weight)
        state = await self.state(fleet, name)
        if state is None:
            raise DependencyUnavailable(f"the share of {name} ended while it was given")
        return state

    async def withdraw(self, fleet: Fleet, name: str, fence: int) -> None:
        """Let the champion answer all; DependencyUnavailable (exit 6) where a replica says nothing.

        Raises Superseded (exit 5) below the highest fence. Figures end with the share.
        """
        if self._served(name) is None:
            return
        async with self._locks[name]:
            await self._fences.check(name, fence)
            given = self._current(name)
            self.end(name)
            members = list(fleet.members.values())
            message = {"kind": "withdraw", "model": name}
            answers = await fleet.ask_all(members, message, _TELL_SECONDS)
        silent = [
            one.name
            for one, answer in answers.items()
            if isinstance(answer, BaseException) and not one.gone.is_set()
        ]
        if silent and given is not None and given.remaining > 0:
            raise DependencyUnavailable(
                f"{', '.join(silent)} did not answer; what they give the candidate of {name} ends "
                f"with its lease, in {given.remaining:.0f} s",
                remedy="Ask again.",
            )

    async def state(self, fleet: Fleet, name: str) -> TrafficState | None:
        """The share of a model's candidate, and the figures of both; None where it has none."""
        given = self._current(name)
        if given is None:
            return None
        members = fleet.in_state("ready", "leaving")
        answers = await fleet.ask_all(members, {"kind": "figures", "model": name}, _TELL_SECONDS)
        told = [answer for answer in answers.values() if isinstance(answer, dict)]
        told = [one for one in told if (one["op"], one["stage"]) == given.traffic.figures_of]
        candidate = merged([VariantFigures.model_validate(one["candidate"]) for one in told])
        ready = fleet.in_state("ready")
        everywhere = bool(ready) and given.followers.issuperset(ready)
        if given.traffic.variant == "shadow":
            shadow = self._shadow(name)
            candidate = merged(await shadow.figures(name))
            everywhere = everywhere and shadow.is_ready(name)
        return TrafficState(
            traffic=given.traffic,
            remaining=max(given.remaining, 0.0),
            everywhere=everywhere,
            champion=merged([VariantFigures.model_validate(one["champion"]) for one in told]),
            candidate=candidate,
            copied=sum(one["copied"] for one in told),
            dropped=sum(one["dropped"] for one in told),
        )

    @contextlib.asynccontextmanager
    async def settled(self, member: Member, names: Iterable[str]) -> AsyncIterator[None]:
        """Bring a replica that joins to the shares there are; within, nobody changes them.

        A replica that cannot follow serves without.
        """
        async with contextlib.AsyncExitStack() as stack:
            for name in sorted(names):
                await stack.enter_async_context(self._locks[name])
                given = self._current(name)
                if given is not None:
                    if await self._tell(member, name, given):
                        given.followers.add(member)
                elif name in self._decided:
                    member.channel.send({"kind": "withdraw", "model": name})
            yield

    def end(self, name: str) -> None:
        """Forget a share: replicas have ended it, as those do that begin to serve another epoch."""
        self._given.pop(name, None)
        self._decided.add(name)
        if self._shadows is not None:
            self._shadows.end(name)

    def _current(self, name: str) -> _Given | None:
        given = self._given.get(name)
        if given is not None and given.remaining <= 0:
            del self._given[name]
            return None
        return given

    def _shadow(self, name: str) -> Shadows:
        if self._shadows is None:
            raise SpecError(f"{name}: this server runs no shadows")
        return self._shadows

    def _check_epoch(self, name: str, traffic: Traffic) -> None:
        served = self._served(name)
        if served is None or served.epoch != traffic.base_epoch:
            told = "nothing" if served is None else f"epoch {served.epoch}"
            raise Superseded(f"{name} serves {told}; a share beside epoch {traffic.base_epoch}")

    async def _bring(
        self, fleet: Fleet, members: list[Member], name: str, traffic: Traffic, bundle: str
    ) -> None:
        self._loading[name] = traffic.digest
        try:
            await asyncio.to_thread(self._copies.bring, name, bundle, traffic.digest)
            await self._prepare(fleet, members, name, traffic)
        finally:
            del self._loading[name]

    async def _prepare(
        self, fleet: Fleet, members: list[Member], name: str, traffic: Traffic
    ) -> None:
        """Let every replica load the candidate; where one finds it wanting, nobody keeps it.

        One goes first: what the candidate does to it, it does to no other.
        """
        message = _message("prepare_share", name, traffic)
        try:
            for some in (members[:1], members[1:]):
                answers = await fleet.ask_all(some, message, _PREPARE_SECONDS)
                for member, answer in answers.items():
                    self._check_prepared(member, name, answer)
        except FerrymanError:
            for member in members:
                member.channel.send({"kind": "discard_share", "model": name})
            raise

    def _check_prepared(self, member: Member, name: str, answer: Any) -> None:
        """IntegrityBroken where a replica has ended over the candidate, or holds too much with it.

        Replicas that are replaced time after time would be worse than no candidate.
        """
        if isinstance(answer, BaseException) and not isinstance(answer, DependencyUnavailable):
            raise answer
        if member.gone.is_set() and member.state != "leaving":
            raise IntegrityBroken(
                f"replica {member.name} ended while it loaded the candidate of {name}",
                remedy="Read the server's log; give it again if this was not its doing.",
            )
        used = resident_bytes(member.pid) if self._memory else 0
        if used > self._memory:
            raise IntegrityBroken(
                f"with the candidate of {name} replica {member.name} uses {used >> 20} MiB, more "
                f"than the declared {self._memory >> 20} MiB (resources.memory)",
                remedy="Declare more memory for the server, or release a smaller model.",
            )

    async def _tell(self, member: Member, name: str, given: _Given) -> bool:
        """Whether a replica follows; one that has let go of the candidate loads it anew."""
        message = {**_message("expose", name, given.traffic), "until": given.until}
        try:
            if not await member.channel.ask(message, _TELL_SECONDS):
                prepare = _message("prepare_share", name, given.traffic)
                await member.channel.ask(prepare, _PREPARE_SECONDS)
                return bool(await member.channel.ask(message, _TELL_SECONDS))
        except (DependencyUnavailable, IntegrityBroken, Superseded) as error:
            logger.error("replica %s: no share for %s: %s", member.name, name, error)
            return False
        return True


def _message(kind: str, name: str, traffic: Traffic) -> dict[str, Any]:
    return {"kind": kind, "model": name, "traffic": traffic.model_dump(mode="json")}
