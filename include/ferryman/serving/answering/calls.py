"""A prediction on its way, and who is drawn to answer it while a candidate has a share."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ferryman.serving.answering.shares import Share
from ferryman.serving.models.labels import CHAMPION, FALLBACK
from ferryman.serving.models.onnx_model import OnnxModel
from ferryman.serving.protocols import dialects
from ferryman.serving.protocols.requests import Asked, Request


class Call(NamedTuple):
    """A prediction that was read and can be scored.

    `entity` is whom the client says that it is about (x-entity-key). `propensity` is the
    probability with which `variant` was drawn. `share` is set while two are compared; `key` is whom
    it was drawn for. `otherwise` is the champion's call, which is answered where the candidate that
    was drawn fails.
    """

    request_id: bytes
    request: Request
    asked: Asked
    feed: Mapping[str, Any]
    model: OnnxModel
    started: float
    entity: bytes = b""
    variant: str = CHAMPION
    propensity: float = 1.0
    share: Share | None = None
    key: bytes = b""
    otherwise: Any = None  # a Call; a NamedTuple's class cannot name itself

    @property
    def size(self) -> int:
        """How many rows."""
        return self.asked.rows.size

    @property
    def headers(self) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """What the answer's head says of who gave it; see OnnxModel."""
        return self.model.headers(self.variant, self.propensity)


def read(request: Request, model: OnnxModel) -> tuple[Asked, Mapping[str, Any]]:
    """A request's rows, read and checked; Refusal or RowError where they are not good."""
    asked = dialects.read(request, model.schema)
    return asked, model.schema.feed(asked.rows)


def draw(call: Call, share: Share) -> Call:
    """The champion's call, or the candidate's in its place."""
    key = _key(call)
    candidate, weight = share.model, share.traffic.weight
    if candidate is None or not share.takes(key):
        propensity = 1.0 if candidate is None else 1.0 - weight
        return call._replace(propensity=propensity, share=share, key=key)
    # What the champion answers in the place of the candidate is no answer of its own arm.
    instead = call._replace(variant=FALLBACK, propensity=weight, share=share, key=key)
    asked, feed = call.asked, call.feed
    if not share.reads_alike:
        try:
            asked, feed = read(call.request, candidate)
        except Exception as error:  # noqa: BLE001 - the candidate's, whatever it is
            share.tell_failure(error)
            return instead
    variant = share.traffic.variant
    return instead._replace(
        asked=asked, feed=feed, model=candidate, variant=variant, otherwise=instead
    )


def _key(call: Call) -> bytes:
    """Whom a request is about: told by its head, by its first row, or nobody but itself."""
    if call.entity:
        return call.entity
    told = call.model.schema.entity_of(call.asked.rows)
    return call.request_id if told is None else told.encode(errors="replace")
