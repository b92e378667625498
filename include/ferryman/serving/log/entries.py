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
    answered.
    """

    request_id: bytes
    model: OnnxModel
    checked: Sequence[Any]
    given: Mapping[str, list[Any]]
    scores: Scores
    at: float
    seconds: float = 0.0
    variant: str = CHAMPION


def weight(entry: Entry) -> int:
    """About how many bytes of memory an entry holds."""
    found = _ENTRY_BYTES + _OBJECT_BYTES * len(entry.scores) * max(entry.model.classes, 1)
    for block in entry.checked:
        found += _texts_weight(block) if type(block) is list else block.nbytes
    for values in entry.given.values():
        found += _texts_weight([value for value in values if type(value) is str])
        found += _OBJECT_BYTES * len(values)
    return found


def _texts_weight(texts: list[Any]) -> int:
    return _OBJECT_BYTES * len(texts) + sum(map(len, filter(None, texts)))
