"""Calibration: do probabilities of p come true in a share of p?"""

import numpy as np

from ferryman.evaluation.metrics import Bools, Floats, Places

BINS = 10


def calibration_bins(scores: Floats, bins: int = BINS) -> Places:
    """The bin of each row: bins of equal counts by quantiles, equal scores in one bin.

    Fewer bins come out where scores are few or tied; they are numbered from 0 to bins - 1.
    """
    edges = np.quantile(scores, np.linspace(0, 1, bins + 1))
    return np.searchsorted(edges[1:-1], scores).astype(np.int64)


class CalibrationError:
    """The expected calibration error, with the bins of all rows in every resample.

    The error is the mean over the rows of |share that came true - mean score| of a row's bin, of
    BINS bins of equal counts. It is never negative, so chance alone makes it positive: a perfectly
    calibrated model has about sqrt(BINS / rows) / 3.
    """

    def __init__(self, hits: Bools, scores: Floats) -> None:
        self._residuals = np.zeros((len(scores), BINS))
        rows = np.arange(len(scores))
        self._residuals[rows, calibration_bins(scores)] = hits - scores

    def errors(self, counts: Floats) -> Floats:
        """The error in each resample; counts are [resamples, rows]."""
        sums = np.abs(counts @ self._residuals).sum(axis=1)
        return np.asarray(sums / counts.sum(axis=1), dtype=np.float64)
