"""What every dialect tells of a model beside its own words."""

from typing import Any

from ferryman.serving.onnx_model import OnnxModel


def task_facts(model: OnnxModel) -> dict[str, Any]:
    """What the numbers of an answer mean: the task, and the classes in their order."""
    classes = {"classes": model.signature.classes} if model.classes else {}
    return {"task": model.signature.task, **classes}
