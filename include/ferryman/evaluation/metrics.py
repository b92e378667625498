"""Metrics of a binary model on labelled rows."""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# A probability of exactly 0 or 1 that is wrong would cost infinitely much; served probabilities
# are float32, whose resolution near 1 is 6e-8.
CLIP = 1e-7
THRESHOLD = 0.5
LOWER_IS_BETTER = frozenset({"log_loss", "brier"})
METRICS = ("roc_auc", "log_loss", "brier", "accuracy", "precision", "recall", "f1")


@dataclass(frozen=True)
class Confusion:
    """Counts of rows by label and answer; an answer is positive at scores >= threshold."""

    true_negative: int
    false_positive: int
    false_negative: int
    true_positive: int
    threshold: float

    def as_dict(self) -> dict[str, float]:
        """The counts and the threshold by name."""
        return asdict(self)


def score_binary(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, threshold: float = THRESHOLD
) -> dict[str, float | None]:
    """Every metric of probabilities against labels, both of shape [rows].

    None stands for "cannot be had": every metric where a score is not a finite number or there are
    no rows, roc_auc where one class is absent, precision where nothing is answered positive, recall
    where nothing is positive, f1 where both. log_loss is in nats, with scores clipped to
    [1e-7, 1 - 1e-7]. `rows` and `base_rate` are there too. Raises ValueError for unequal shapes.
    """
    truth, given = checked(labels, scores)
    rows = len(truth)
    if rows == 0 or not np.isfinite(given).all():
        empty: dict[str, float | None] = dict.fromkeys(METRICS)
        return {**empty, "rows": float(rows), "base_rate": float(truth.mean()) if rows else None}
    counts = confusion(truth, given, threshold=threshold)
    return {
        "roc_auc": roc_auc(truth, given),
        "log_loss": float(log_losses(truth, given).mean()),
        "brier": float(squared_errors(truth, given).mean()),
        **_of_confusion(counts),
        "rows": float(rows),
        "base_rate": float(truth.mean()),
    }


def confusion(labels: Bools, scores: Floats, *, threshold: float = THRESHOLD) -> Confusion:
    """Counts by label and answer; scores must be finite."""
    answers = scores >= threshold
    true_positive = int(np.count_nonzero(labels & answers))
    positives = int(np.count_nonzero(labels))
    answered = int(np.count_nonzero(answers))
    return Confusion(
        true_negative=len(labels) - positives - answered + true_positive,
        false_positive=answered - true_positive,
        false_negative=positives - true_positive,
        true_positive=true_positive,
        threshold=threshold,
    )


def roc_auc(labels: Bools, scores: Floats) -> float | None:
    """The chance that a positive row scores above a negative one, ties counting half."""
    positives = int(np.count_nonzero(labels))
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        return None
    order = np.argsort(scores, kind="stable")
    starts = tie_starts(scores[order])
    sizes = np.diff(starts, append=len(scores))
    ranks = starts + (sizes + 1) / 2  # the middle rank of each group of equal scores, from 1
    positive_ranks = np.repeat(ranks, sizes)[labels[order]].sum()
    return float((positive_ranks - positives * (positives + 1) / 2) / (positives * negatives))


def log_losses(labels: Bools, scores: Floats) -> Floats:
    """The logarithmic loss of each row, in nats, scores clipped by CLIP."""
    given = np.clip(scores, CLIP, 1 - CLIP)
    return -np.log(np.where(labels, given, 1 - given))


def squared_errors(labels: Bools, scores: Floats) -> Floats:
    """The squared error of each row's probability; its mean is the Brier score."""
    return np.asarray((scores - labels) ** 2, dtype=np.float64)


def tie_starts(ordered: Floats) -> npt.NDArray[np.intp]:
    """Where each group of equal values starts in a sorted array."""
    return np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])


def checked(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Bools, Floats]:
    """Labels as bool and scores as float64; ValueError where the shapes are not equal [rows]."""
    truth = np.asarray(labels, dtype=np.bool_)
    given = np.asarray(scores, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != given.shape:
        raise ValueError(f"labels {truth.shape} and scores {given.shape} must be equal [rows]")
    return truth, given


def _of_confusion(counts: Confusion) -> dict[str, float | None]:
    hit, wrong = counts.true_positive, counts.false_positive
    missed, right = counts.false_negative, counts.true_negative
    return {
        "accuracy": (hit + right) / (hit + right + wrong + missed),
        "precision": hit / (hit + wrong) if hit + wrong else None,
        "recall": hit / (hit + missed) if hit + missed else None,
        "f1": 2 * hit / (2 * hit + wrong + missed) if hit + wrong + missed else None,
    }
