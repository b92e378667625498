"""What the prediction log is given: one answered request."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ferryman.serving.models.labels import CHAMPION
from ferryman.serving.models.onnx_model import OnnxModel, Scores

# What an object takes beside its content: an entry, a text, a number or a time.
_ENTRY_BYTES, _OBJECT_BYTES = 600, 60


class Entry(NamedTuple):
    """One answered request, as its rows were checked.

    `checked` and `given` are those of its `Rows`: the blocks of cells, and what is no feature;
    `at`: when it was answered, seconds since 1970; `seconds`: how long it took; `variant`: who
    answered; `size`: the bytes of its body, which no texts in it exceed; `propensity`: how probable
    it was that this variant was drawn, 1.0 where nothing was drawn; `entity`: whom the client said
    that the request is about, empty where it did not say.
    """

    request_id: bytes
    model: OnnxModel
    checked: Sequence[Any]
    given: Mapping[str, list[Any]]
    scores: Scores
    at: float
    seconds: float = 0.0
    variant: str = CHAMPION
    size: int = 0
    propensity: float = 1.0
    entity: bytes = b""


def weight(entry: Entry) -> int:
    """About how many bytes of memory an entry holds, rather too many."""
    found = _ENTRY_BYTES + entry.size + len(entry.entity)
    objects = len(entry.scores) * max(entry.model.classes, 1)
    for block in entry.checked:
        if type(block) is list:
            objects += len(block)
        else:
            found += block.nbytes
    for values in entry.given.values():
        objects += len(values)
    return found + objects * _OBJECT_BYTES
