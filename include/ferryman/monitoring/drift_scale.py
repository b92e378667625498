"""One scale for every change: the shift of a normal column in standard deviations.

A change of any kind is as large as the shift of a normal column that would be as easy to see: that
moves as large a share of rows, or that tells old and new rows apart as well. So one declared
effect fits numbers of any shape, categories, rates, predictions and what a classifier finds.
"""

import math

from scipy import special

LARGEST = 10.0  # a change of everything is no infinite shift


def normal_shift(moved: float) -> float:
    """The shift that moves this share of the rows, from 0 to 1: 0.12 of them is 0.3."""
    return min(LARGEST, 2 * float(special.ndtri((1 + min(moved, 1.0)) / 2)))


def rate_shift(before: float, now: float) -> float:
    """The distance of two rates (Cohen's h, 1988): 0 to 0.5 % is 0.14, 20 % to 50 % is 0.64."""
    return 2 * abs(math.asin(math.sqrt(min(1.0, now))) - math.asin(math.sqrt(min(1.0, before))))


def area_shift(area: float) -> float:
    """The shift at which old and new rows are told apart with this area under the ROC curve.

    No better than by chance is 0: 0.58 is 0.3.
    """
    return min(LARGEST, math.sqrt(2) * max(0.0, float(special.ndtri(min(area, 1.0)))))
