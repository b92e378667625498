"""The picture that the step `evaluate` keeps."""

from ferryman.evaluation.pictures import confusion_png

__all__ = ["confusion_png"]
