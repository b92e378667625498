"""The metrics of a regression: numbers against the numbers that were true."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.metrics import (
    Floats,
    Resampled,
    picked,
    point_figures,
    vectors,
)
from ferryman.spec.metrics import METRICS_OF


class RegressionMeasures:
    """Measures of numbers [rows] against numbers [rows].

    mae and rmse are in the label's unit. r2 does not exist where all labels are equal. mape is the
    mean of |error / label|, a share (0.1 is 10 %), over the rows whose label is not 0; it does not
    exist where all labels are 0.
    """

    names: tuple[str, ...] = METRICS_OF["regression"]

    def checked(self, labels: npt.ArrayLike, predictions: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Both as arrays; ValueError where their shapes are not equal [rows]."""
        return vectors(labels, predictions, np.float64)

    def score(self, labels: npt.ArrayLike, predictions: npt.ArrayLike) -> dict[str, float | None]:
        """Every metric, `rows`, `label_mean`, and the rows that mape leaves out."""
        truth, given = self.checked(labels, predictions)
        rows = len(truth)
        found: dict[str, float | None] = dict.fromkeys(self.names)
        if rows and np.isfinite(given).all():
            found = point_figures(self.resampled(truth, given), rows, self.names)
        return {
            **found,
            "rows": float(rows),
            "label_mean": float(truth.mean()) if rows else None,
            "mape_left_out": float(np.count_nonzero(truth == 0)),
        }

    def resampled(self, labels: npt.ArrayLike, predictions: npt.ArrayLike) -> Resampled:
        """Finite numbers of at least one row, ready to be resampled."""
        truth, given = self.checked(labels, predictions)
        return _RegressionResampled(truth, given)


class _RegressionResampled:
    def __init__(self, labels: Floats, values: Floats) -> None:
        not_zero = labels != 0
        # Labels around their mean: squares of large numbers would cancel each other.
        around = labels - labels.mean()
        self._equal = not (labels != labels[0]).any()
        # Answers beyond all bounds have figures beyond all bounds, which count as not to be had.
        with np.errstate(over="ignore"):
            errors = np.abs(values - labels)
            shares = np.divide(errors, np.abs(labels), out=np.zeros_like(errors), where=not_zero)
            parts = [errors, errors**2, shares, not_zero.astype(np.float64), around, around**2]
        # One product with the counts gives every sum that a metric needs.
        self._sums = np.stack(parts, axis=1)

    def metrics(self, counts: Floats, names: Sequence[str]) -> dict[str, Floats]:
        """See Resampled."""
        rows = counts.sum(axis=1)
        with np.errstate(invalid="ignore", over="ignore"):
            errors, squares, shares, not_zero, around, spread = (counts @ self._sums).T
            total = spread - around**2 / rows
            # A resample of equal labels has a spread of rounding only.
            varied = (total > 1e-12 * spread) & (not self._equal)
            missing = np.full(len(counts), np.nan)
            explained = np.divide(squares, total, out=missing.copy(), where=varied)
            found: dict[str, Floats] = {
                "mae": errors / rows,
                "rmse": np.sqrt(squares / rows),
                "r2": 1 - explained,
                "mape": np.divide(shares, not_zero, out=missing, where=not_zero > 0),
            }
        return picked(found, names)
