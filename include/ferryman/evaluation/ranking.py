"""The areas under the ROC curve and under the precision-recall curve, in many resamples at once."""

import numpy as np

from ferryman.evaluation.metrics import Bools, Floats


class Ranking:
    """Rows in the order of falling scores, ready to be weighted by how often each was drawn."""

    def __init__(self, labels: Bools, scores: Floats) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ordered, positive = scores[self._order], labels[self._order]
        # Rows of equal scores cannot be told apart: a group is passed as a whole.
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        ends = np.r_[starts[1:], len(ordered)]
        group = np.repeat(np.arange(len(starts)), ends - starts)
        self._positive = np.flatnonzero(positive)
        self._from, self._to = starts[group[self._positive]], ends[group[self._positive]]
        before = np.r_[0, np.cumsum(positive)]
        self._hits_from, self._hits_to = before[self._from], before[self._to]

    def areas(self, drawn: Floats) -> tuple[Floats, Floats]:
        """ROC AUC and average precision, each [resamples]; `drawn` counts [rows, resamples].

        ROC AUC is the chance that a positive row scores above a negative one, ties counting half.
        Average precision is the sum over the scores of precision times the recall gained there
        (no interpolation). NaN where a class is absent; average precision needs positives only.
        """
        ordered = np.take(drawn, self._order, axis=0)
        weights = ordered[self._positive]
        hits, passed = _running(weights), _running(ordered)
        positives, rows = hits[-1], passed[-1]
        hit, upto = hits[self._hits_to], passed[self._to]
        precision = np.divide(hit, upto, out=np.zeros_like(hit), where=upto > 0)
        # Negatives above a positive row, and those beside it by half.
        above = (upto - hit + passed[self._from] - hits[self._hits_from]) / 2
        lost = np.einsum("ij,ij->j", weights, above)
        negatives = rows - positives
        with np.errstate(invalid="ignore", divide="ignore"):
            pairs = positives * negatives
            average = np.einsum("ij,ij->j", weights, precision) / positives
            return (pairs - lost) / pairs, np.minimum(average, 1.0)


def _running(weights: Floats) -> Floats:
    """Sums of the rows before each place, and of all: [rows + 1, resamples]."""
    sums = np.zeros((len(weights) + 1, weights.shape[1]))
    np.cumsum(weights, axis=0, out=sums[1:])
    return sums
