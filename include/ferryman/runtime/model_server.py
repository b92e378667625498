"""The model server port: what a release tells a server, and asks it, wherever it runs."""

from types import TracebackType
from typing import Any, Protocol, Self

from ferryman.runtime.traffic import Traffic, TrafficState


class ModelServer(Protocol):
    """Serves released versions of models. Use it in a `with` block.

    Every method raises DependencyUnavailable (exit 6) when the server cannot be reached.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def status(self, model: str) -> dict[str, Any] | None:
        """What is served of a model: version, epoch, digest, loaded; None when nothing.

        `loaded` is true where every replica that answers has loaded that very version.
        """
        ...

    def check(self, model: str, bundle: str, digest: str) -> None:
        """Let the server try a candidate beside what it serves; what is served does not change.

        Raises IntegrityBroken (exit 7) when its bytes or its golden answers are not as recorded.
        """
        ...

    def expose(self, model: str, traffic: Traffic, bundle: str) -> TrafficState:
        """Give a candidate its share of the requests, or renew the lease of the share it has.

        Returns when every replica follows. Raises Superseded (exit 5) where the served epoch is not
        `base_epoch`, or a higher fence was seen; IntegrityBroken (exit 7) for a bundle that is not
        as recorded; SpecError (exit 2) where the place of the server knows no shares.
        """
        ...

    def withdraw(self, model: str, fence: int) -> None:
        """Take every share back: the champion answers all. Safe to repeat, and without a share.

        Raises Superseded (exit 5) where a higher fence was seen.
        """
        ...

    def traffic(self, model: str) -> TrafficState | None:
        """The share that a candidate has now, and the figures of both; None where it has none."""
        ...

    def load(
        self, model: str, *, version: int, epoch: int, bundle: str, digest: str
    ) -> dict[str, Any]:
        """Serve a released version; returns as soon as every replica answers with it.

        The same version at the same epoch changes nothing. Raises Superseded (exit 5) when the
        server is at that epoch or later; IntegrityBroken (exit 7), with the old version still
        serving, when the bundle is not as recorded.
        """
        ...
