"""The model server port: what a release tells a server, and asks it, wherever it runs."""

from types import TracebackType
from typing import Any, Protocol, Self


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

    def load(
        self, model: str, *, version: int, epoch: int, bundle: str, digest: str
    ) -> dict[str, Any]:
        """Serve a released version; returns as soon as every replica answers with it.

        The same version at the same epoch changes nothing. Raises Superseded (exit 5) when the
        server is at that epoch or later; IntegrityBroken (exit 7), with the old version still
        serving, when the bundle is not as recorded.
        """
        ...
