"""What every dialect tells of a model beside its own words."""

from collections.abc import Sequence
from typing import Any

from ferryman.serving.models.labels import LABELS
from ferryman.serving.models.onnx_model import OnnxModel

# The loaded versions of one model: the one that is served to everybody, then the one before it.
Versions = Sequence[OnnxModel]


def task_facts(model: OnnxModel) -> dict[str, Any]:
    """What the numbers of an answer mean: the task, and the classes in their order."""
    classes = {"classes": model.signature.classes} if model.classes else {}
    return {"task": model.signature.task, **classes}


def label_facts(versions: Versions) -> dict[str, Any]:
    """Which version each label stands for; labels may be asked in v1's paths."""
    pairs = zip(LABELS, versions, strict=False)
    return {"labels": {label: loaded.identity.version for label, loaded in pairs}}
