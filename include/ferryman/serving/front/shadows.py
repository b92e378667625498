"""The shadows of a server: at most one a model, for as long as its share is renewed."""

import asyncio

from ferryman.runtime.traffic import Traffic, VariantFigures
from ferryman.serving.front.shadow_process import LEAVE_SECONDS, ShadowPlace, ShadowProcess


class Shadows:
    """The shadows by model. Of the front's event loop."""

    def __init__(self, place: ShadowPlace) -> None:
        self._place = place
        self._shadows: dict[str, ShadowProcess] = {}
        self._coming: set[ShadowProcess] = set()
        self._leaving: set[asyncio.Task[None]] = set()

    async def follow(self, name: str, traffic: Traffic, until: float) -> None:
        """Have a shadow of that candidate until then, on the clock of `time.monotonic`.

        Returns as soon as it takes copies, or, where it was there before, at once. Raises
        IntegrityBroken (exit 7) for a candidate that cannot be loaded, DependencyUnavailable (exit
        6) where it does not come in time; then the one that is there stays.
        """
        shadow = self._shadows.get(name)
        if shadow is not None and shadow.is_of(traffic) and not shadow.ended:
            shadow.renew(traffic, until)
            return
        coming = ShadowProcess(self._place, name, traffic, until)
        self._coming.add(coming)
        try:
            await coming.wait_until_loaded()
        except BaseException:
            self._let_go(coming)
            raise
        finally:
            self._coming.discard(coming)
        self.end(name)
        self._shadows[name] = coming

    def end(self, name: str) -> None:
        """End a model's shadow, if there is one; it finishes its log by itself."""
        shadow = self._shadows.pop(name, None)
        if shadow is not None:
            self._let_go(shadow)

    def _let_go(self, shadow: ShadowProcess) -> None:
        shadow.end()
        self._leaving.add(shadow.task)
        shadow.task.add_done_callback(self._leaving.discard)

    def is_ready(self, name: str) -> bool:
        """Whether a model's shadow takes copies now."""
        shadow = self._shadows.get(name)
        return shadow is not None and shadow.is_ready

    async def figures(self, name: str) -> list[VariantFigures]:
        """What a model's shadow did since its stage began, one entry for each of its lives.

        Each life that ended otherwise than by us counts as a request that it failed at.
        """
        shadow = self._shadows.get(name)
        return [] if shadow is None else await shadow.figures()

    async def pages(self) -> list[str]:
        """The metrics of those that answer now."""
        shadows = list(self._shadows.values())
        return await asyncio.gather(*(shadow.page() for shadow in shadows))

    async def flush(self) -> None:
        """Wait until every shadow has written its log, those that are leaving, too.

        Raises DependencyUnavailable (exit 6) where one does not.
        """
        shadows = list(self._shadows.values())
        leaving = list(self._leaving)
        await asyncio.gather(*(shadow.flush() for shadow in shadows))
        if leaving:
            await asyncio.wait(leaving, timeout=LEAVE_SECONDS)

    async def end_all(self, seconds: float) -> None:
        """End every shadow, and those at once that take longer."""
        for name in list(self._shadows):
            self.end(name)
        for shadow in self._coming:
            self._let_go(shadow)
        leaving = list(self._leaving)
        if leaving:
            _, slow = await asyncio.wait(leaving, timeout=seconds)
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
