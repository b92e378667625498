"""Which loaded model a path names, and what it is told of."""

from collections.abc import Iterator, Mapping
from typing import Any

from ferryman.serving.answering.shares import Shares
from ferryman.serving.models.labels import CANDIDATE, CHAMPION, LABELS, PREVIOUS
from ferryman.serving.models.onnx_model import OnnxModel
from ferryman.serving.models.served_models import ServedModels
from ferryman.serving.protocols import dialects
from ferryman.serving.protocols.answers import Refusal
from ferryman.serving.protocols.routes import Route


class LoadedModels:
    """The served models and the candidates beside them, as paths ask for them."""

    def __init__(self, served: ServedModels, shares: Shares) -> None:
        self._served = served
        self._shares = shares

    def find(self, route: Route) -> OnnxModel | None:
        """The model that a path names; Refusal 404 for a version or label that is not loaded."""
        model = self._served.get(route.model)
        if model is None or (route.version is None and not route.label):
            return model
        versions = self.versions(route.model)
        for label, loaded in versions.items():
            if route.label == label or route.version == loaded.identity.version:
                return loaded
        refusal = Refusal(404, f"model {route.model!r} has no such version")
        there = sorted({loaded.identity.version for loaded in versions.values()})
        refusal.content.update(versions=there, labels=list(versions))
        raise refusal

    def versions(self, name: str) -> dict[str, OnnxModel]:
        """Every loaded version by its label; the candidate is one while it has a share."""
        found = self._served.versions(name)
        share = self._shares.live(name)
        if share is not None and share.model is not None:
            found[CANDIDATE] = share.model
        return {label: found[label] for label in LABELS if label in found}

    def answering(self) -> Iterator[tuple[OnnxModel, str]]:
        """Every model that answers here, and what it is called; a shadow answers elsewhere."""
        for model in self._served.loaded:
            yield model, CHAMPION
        for _, share in self._shares.all_live:
            if share.model is not None:
                yield share.model, share.traffic.variant

    def variant(self, route: Route, model: OnnxModel) -> str:
        """What a model is called that was found by a path."""
        share = self._shares.live(route.model)
        if share is not None and model is share.model:
            return share.traffic.variant
        return CHAMPION if model is self._served.get(route.model) else PREVIOUS

    def tell(self, route: Route, method: str, model: OnnxModel | None) -> Mapping[str, Any]:
        """What a path that is no prediction is answered; Refusal where it is nothing."""
        if route.kind == "none":
            raise Refusal(404, "no such path")
        allowed = ("POST",) if route.kind in ("predict", "labels") else ("GET", "HEAD")
        if method not in allowed:
            allow = (b"allow", ", ".join(allowed).encode())
            raise Refusal(405, "method not allowed", [allow])
        if route.kind == "live":
            return {"live": True}
        if route.kind == "ready":
            return self._readiness()
        if route.kind == "server":
            return dialects.describe_server()
        if route.kind == "labels":
            raise Refusal(503, "this server takes no labels")
        if model is None:
            raise self._not_there(route.model)
        return dialects.describe(route, model, self.versions(route.model))

    def named(self, name: str) -> OnnxModel:
        """The served model of a name; Refusal 404, or 503 while it is not loaded."""
        model = self._served.get(name)
        if model is None:
            raise self._not_there(name)
        return model

    def _not_there(self, name: str) -> Refusal:
        if name in self._served.remembered:
            return Refusal(503, f"model {name!r} is not loaded")
        return Refusal(404, "no such model")

    def _readiness(self) -> Mapping[str, Any]:
        if self._served.is_ready:
            return {"ready": True, "models": sorted(m.identity.name for m in self._served.loaded)}
        refusal = Refusal(503, "not every model is loaded")
        missing = self._served.remembered.keys() - {m.identity.name for m in self._served.loaded}
        refusal.content.update(loading=not self._served.restored, missing=sorted(missing))
        raise refusal
