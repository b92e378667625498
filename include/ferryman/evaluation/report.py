"""The picture of a binary confusion."""

from ferryman.evaluation import pictures
from ferryman.evaluation.metrics import Confusion


def confusion_png(counts: Confusion, *, label: str) -> bytes:
    """The confusion matrix of a binary model as a PNG."""
    matrix = [
        [counts.true_negative, counts.false_positive],
        [counts.false_negative, counts.true_positive],
    ]
    return pictures.confusion_png(matrix, ["no", "yes"], label=label)
