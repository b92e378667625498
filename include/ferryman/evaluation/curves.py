"""Pictures of answers against what became true: ROC, precision and recall, calibration, errors."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.pictures import BLUE, COLOURS, GREY, MOST_CLASSES, drawing, plain

Labels = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

_BINS = 10
_LEAST_IN_BIN = 5
# Points of a scatter, and of a curve: more make the picture no better.
_MOST_POINTS = 3000
_MOST_CURVE_POINTS = 500


def roc_png(labels: Labels, predictions: Floats, classes: Sequence[str] = ()) -> bytes | None:
    """True against false positive rate; with classes each against the rest.

    None where no class is both there and absent: there is no curve.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    curves = []
    for name, truth, scores in _one_against_rest(labels, predictions, classes):
        false, true, _ = roc_curve(truth, scores)
        curves.append((name, float(roc_auc_score(truth, scores)), false, true))
    if not curves:
        return None
    with drawing() as canvas:
        axes = canvas.axes
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
        for colour, (name, area, false, true) in zip(COLOURS, curves, strict=False):
            places = _thinned(len(false))
            text = f"{plain(name, 16)} area {area:.3f}".strip()
            axes.plot(false[places], true[places], color=colour, label=text)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    return canvas.png


def precision_recall_png(
    labels: Labels, predictions: Floats, classes: Sequence[str] = ()
) -> bytes | None:
    """Precision against recall, with the share of the class as the line of a constant answer.

    None as in `roc_png`.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    curves = []
    for name, truth, scores in _one_against_rest(labels, predictions, classes):
        precision, recall, _ = precision_recall_curve(truth, scores)
        area = float(average_precision_score(truth, scores))
        curves.append((name, area, precision, recall, float(truth.mean())))
    if not curves:
        return None
    with drawing() as canvas:
        axes = canvas.axes
        for colour, (name, area, precision, recall, share) in zip(COLOURS, curves, strict=False):
            places = _thinned(len(recall))
            text = f"{plain(name, 16)} area {area:.3f}".strip()
            axes.plot(recall[places], precision[places], color=colour, label=text)
            if not classes:
                axes.axhline(share, color=GREY, linestyle="--", linewidth=1, label="base rate")
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        axes.set_ylim(0, 1.03)
        axes.legend(frameon=False, fontsize=8, loc="best")
    return canvas.png


def calibration_png(
    labels: Labels, predictions: Floats, classes: Sequence[str] = ()
) -> bytes | None:
    """How often it came true, against how probable it was said to be, in bins of equal counts.

    With classes it is the class answered, and whether it was right. None for fewer than
    2 * 5 rows.
    """
    if classes:
        answered = predictions.argmax(axis=1)
        scores, truth = predictions.max(axis=1), answered == labels
    else:
        scores, truth = predictions, labels.astype(bool)
    bins = min(_BINS, len(scores) // _LEAST_IN_BIN)
    if bins < 2:
        return None
    parts = np.array_split(np.argsort(scores, kind="stable"), bins)
    said = np.array([scores[part].mean() for part in parts])
    came = np.array([truth[part].mean() for part in parts])
    lows, highs = zip(*(_wilson(int(truth[part].sum()), len(part)) for part in parts), strict=True)
    with drawing() as canvas:
        axes = canvas.axes
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="calibrated")
        axes.vlines(said, lows, highs, color=BLUE, linewidth=1.5)
        axes.plot(said, came, "o-", color=BLUE, markersize=5, label=f"{bins} bins of equal counts")
        axes.set_xlabel("probability of the class answered" if classes else "probability answered")
        axes.set_ylabel("share that was right" if classes else "share that came true")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.legend(frameon=False, fontsize=8, loc="best")
    return canvas.png


def answers_png(labels: Floats, predictions: Floats, *, label: str, seed: int = 0) -> bytes:
    """What was answered against what came true, at most 3,000 rows."""
    places = _drawn(len(labels), seed)
    with drawing() as canvas:
        axes = canvas.axes
        low = float(min(labels.min(), predictions.min()))
        high = float(max(labels.max(), predictions.max()))
        axes.plot([low, high], [low, high], color=GREY, linestyle="--", linewidth=1)
        axes.plot(labels[places], predictions[places], ".", color=BLUE, alpha=0.5, markersize=5)
        axes.set_xlabel(f"{plain(label)}, true")
        axes.set_ylabel(f"{plain(label)}, answered")
    return canvas.png


def residuals_png(labels: Floats, predictions: Floats, *, label: str, seed: int = 0) -> bytes:
    """What remained unexplained (true less answered) against the answer, at most 3,000 rows."""
    places = _drawn(len(labels), seed)
    with drawing() as canvas:
        axes = canvas.axes
        axes.axhline(0, color=GREY, linestyle="--", linewidth=1)
        errors = labels - predictions
        axes.plot(predictions[places], errors[places], ".", color=BLUE, alpha=0.5, markersize=5)
        axes.set_xlabel(f"{plain(label)}, answered")
        axes.set_ylabel("true less answered")
    return canvas.png


def _one_against_rest(
    labels: Labels, predictions: Floats, classes: Sequence[str]
) -> Iterator[tuple[str, Labels, Floats]]:
    """Name, truth and score of each curve; of many classes the most frequent ones."""
    if not classes:
        if labels.any() and not labels.all():
            yield "", labels.astype(bool), predictions
        return
    counts = np.bincount(labels, minlength=len(classes))
    frequent = np.sort(np.argsort(-counts, kind="stable")[:MOST_CLASSES])
    for place in frequent:
        if 0 < counts[place] < len(labels):
            yield classes[place], labels == place, predictions[:, place]


def _wilson(hits: int, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, 1927)."""
    z = 1.959964
    share = hits / rows
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z * np.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    return float(middle - half), float(middle + half)


def _thinned(points: int) -> npt.NDArray[np.intp]:
    if points <= _MOST_CURVE_POINTS:
        return np.arange(points)
    return np.unique(np.linspace(0, points - 1, _MOST_CURVE_POINTS).astype(np.intp))


def _drawn(rows: int, seed: int) -> npt.NDArray[np.intp]:
    if rows <= _MOST_POINTS:
        return np.arange(rows)
    return np.random.default_rng(seed).choice(rows, _MOST_POINTS, replace=False)
