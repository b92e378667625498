"""What every dialect tells of a model beside its own words."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ferryman.serving.models.onnx_model import OnnxModel

# The loaded versions of one model by label, in the order of labels.LABELS.
Versions = Mapping[str, OnnxModel]
NO_VERSIONS: Versions = MappingProxyType({})


def task_facts(model: OnnxModel) -> dict[str, Any]:
    """What the numbers of an answer mean: the task, and the classes in their order."""
    classes = {"classes": model.signature.classes} if model.classes else {}
    return {"task": model.signature.task, **classes}


def label_facts(versions: Versions) -> dict[str, Any]:
    """Which version each label stands for; labels may be asked in v1's paths."""
    return {"labels": {label: one.identity.version for label, one in versions.items()}}
