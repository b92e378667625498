"""The line through (1, 2), (2, 4) and (3, 6): learnt by Keras, and checked by least squares."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ferryman.spec.windows import Window
from ferryman.steps.journey import Journey
from ferryman.training.trainers import load_model_file

POINTS = pd.DataFrame({"x": [1.0, 2.0, 3.0]})


def least_squares(x: pd.Series, y: pd.Series) -> tuple[float, float]:
    """The slope and the intercept of the line with the least squared error, in closed form.

    The slope is the covariance over the variance; without the division it would be 4/3 here.
    """
    dx = x - x.mean()
    slope = (dx * (y - y.mean())).mean() / (dx**2).mean()
    return slope, y.mean() - slope * x.mean()


def test_the_line_is_learnt_from_its_declaration_alone(
    journey_of: Callable[[str], Journey], january: Callable[[int], Window]
) -> None:
    journey = journey_of("linear_regression")
    list(journey.run("ingest", window=january(10)))
    results = {result.step: result for result in journey.run("training")}
    model = load_model_file(Path(str(results["train"].outputs["model_file"])), journey.model.spec)
    assert model.predict(POINTS) == pytest.approx([2, 4, 6], abs=0.01)
    points = pd.read_csv(journey.settings.source_root / "points" / "points.csv")
    slope, intercept = least_squares(points["x"], points["y"])
    assert (slope, intercept) == (pytest.approx(2), pytest.approx(0))
    kernel, bias = model.estimator.get_weights()
    assert float(kernel[0, 0]) == pytest.approx(slope, abs=0.005)
    assert float(bias[0]) == pytest.approx(intercept, abs=0.01)
    fitted = np.polyfit(points["x"], points["y"], 1)  # and by somebody else's arithmetic
    assert fitted == pytest.approx([slope, intercept], abs=1e-9)
    [verdict] = journey.run("gate")
    assert verdict.verdict == "passed", verdict.text
