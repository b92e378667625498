"""Bias, variance and noise: the parts sum to the loss and are those that were planted."""

import json

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from ferryman.evaluation.risk import RiskResult, measure_risk
from ferryman.spec.metrics import Task

Floats = npt.NDArray[np.float64]


def quadratic(rows: int, noise: float, seed: int = 0, repeat: int = 1) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    x = np.repeat(generator.uniform(-1, 1, rows // repeat), repeat)
    return pd.DataFrame({"x": x, "label": x**2 + generator.normal(0, noise, len(x))})


class Polynomial:
    """Least squares of a degree; remembers what it was fitted on."""

    def __init__(self, degree: int) -> None:
        self.degree = degree
        self.frames: list[pd.DataFrame] = []

    def __call__(self, frame: pd.DataFrame):
        self.frames.append(frame)
        line = np.polynomial.Polynomial.fit(frame["x"], frame["label"], self.degree)
        return lambda rows: line(rows["x"].to_numpy())


def regression(
    fit: Polynomial, noise: float = 0.3, train: int = 60, repeat: int = 4, **settings: int
) -> RiskResult:
    evaluation = quadratic(2000, noise, seed=9, repeat=repeat)
    return measure_risk(
        fit,
        quadratic(train, noise, seed=1),
        evaluation,
        evaluation["label"].to_numpy(),
        task="regression",
        features=["x"],
        **{"resamples": 20, "refit_rows": 5000, **settings},
    )


def test_the_parts_sum_to_the_mean_loss_of_the_refits() -> None:
    fit = Polynomial(3)
    found = regression(fit)
    evaluation = quadratic(2000, 0.3, seed=9, repeat=4)
    losses = [
        ((Polynomial(3)(frame)(evaluation) - evaluation["label"]) ** 2).mean()
        for frame in fit.frames
    ]
    assert found.expected == pytest.approx(np.mean(losses), abs=1e-12)
    assert found.bias_and_noise + found.variance == pytest.approx(found.expected, abs=1e-9)
    assert found.bias + found.noise == pytest.approx(found.bias_and_noise, abs=1e-9)


def test_a_line_on_a_parabola_has_bias_and_a_parabola_has_none() -> None:
    line, right = regression(Polynomial(1)), regression(Polynomial(2))
    # The variance of x^2 for x uniform in -1..1 is 4/45: what a line cannot say.
    assert line.bias == pytest.approx(4 / 45, rel=0.15)
    assert right.bias < 0.01
    for found in (line, right):
        assert found.noise == pytest.approx(0.09, rel=0.1)
    wild = regression(Polynomial(7), train=6000, refit_rows=60)
    assert wild.variance > 2 * right.variance
    assert wild.bias < 0.01


def test_the_luck_of_a_sample_that_every_refit_shares_is_said_to_be_in_the_bias() -> None:
    shared, apart = regression(Polynomial(5)), regression(Polynomial(5), train=6000, refit_rows=60)
    assert shared.bias > apart.bias
    assert "holds the luck of the one training sample" in shared.text
    assert "luck" not in apart.text


def test_variance_is_that_of_other_samples_and_falls_with_their_rows() -> None:
    few, many = regression(Polynomial(5), train=60), regression(Polynomial(5), train=2000)
    assert many.variance < few.variance / 10
    evaluation = quadratic(2000, 0.3, seed=9, repeat=4)
    fresh = np.stack(
        [Polynomial(5)(quadratic(2000, 0.3, seed=s))(evaluation) for s in range(100, 140)]
    )
    assert many.variance == pytest.approx(fresh.var(axis=0, ddof=1).mean(), rel=0.5)


def test_without_twins_bias_and_noise_stay_together() -> None:
    found = regression(Polynomial(1), repeat=1)
    assert (found.bias, found.noise, found.repeated) == (None, None, 0.0)
    assert found.bias_and_noise == pytest.approx(0.09 + 4 / 45, rel=0.15)
    assert "cannot be told apart" in found.text
    json.dumps(found.as_json(), allow_nan=False)


def test_refits_are_capped_drawn_again_and_repeatable() -> None:
    fit = Polynomial(1)
    found = regression(fit, train=300, refit_rows=100, resamples=5)
    assert [len(frame) for frame in fit.frames] == [100] * 5
    assert (found.refits, found.fitted_rows, found.training_rows) == (5, 100, 300)
    assert any(frame.index.duplicated().any() for frame in fit.frames)
    assert regression(Polynomial(1), train=300, refit_rows=100, resamples=5) == found
    assert found.intervals["expected"].low < found.expected < found.intervals["expected"].high


class Shares:
    """Answers the share of each class among equal x, drawn towards equal shares."""

    def __init__(self, classes: list, binary: bool) -> None:
        self.classes, self.binary = classes, binary

    def __call__(self, frame: pd.DataFrame):
        assert set(frame["label"]) == set(self.classes)
        counted = pd.crosstab(frame["x"], frame["label"]).reindex(columns=self.classes) + 1
        shares = counted.div(counted.sum(axis=1), axis=0)

        def predict(rows: pd.DataFrame) -> Floats:
            answers = shares.reindex(rows["x"]).fillna(1 / len(self.classes)).to_numpy()
            return answers[:, 1] if self.binary else answers

        return predict


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_probabilities_have_the_brier_score(task: Task) -> None:
    generator = np.random.default_rng(4)
    x = generator.integers(0, 5, 3000)
    yes = generator.random(3000) < 0.1 + 0.2 * x
    binary = task == "binary"
    frame = pd.DataFrame({"x": x, "label": yes if binary else np.where(yes, "b", "a")})
    classes = [False, True] if binary else ["a", "b"]
    labels = yes if binary else yes.astype(np.int64)
    found = measure_risk(
        Shares(classes, binary),
        frame[:1000],
        frame[1000:],
        labels[1000:],
        task=task,
        features=["x"],
        resamples=10,
        refit_rows=5000,
    )
    irreducible = np.mean([p * (1 - p) for p in 0.1 + 0.2 * np.arange(5)])
    times = 1 if binary else 2  # a sum over two classes
    assert found.loss == "Brier score"
    assert found.noise == pytest.approx(times * irreducible, rel=0.1)
    assert found.bias < 0.01 * times
    assert found.bias + found.noise + found.variance == pytest.approx(found.expected, abs=1e-9)


def test_every_class_is_in_every_refit_however_rare() -> None:
    x = np.arange(300) % 3
    labels = np.where(np.arange(300) == 150, "rare", np.where(x == 1, "b", "a"))
    frame = pd.DataFrame({"x": x, "label": labels})
    found = measure_risk(
        Shares(["a", "b", "rare"], False),
        frame,
        frame,
        pd.Series(labels).map({"a": 0, "b": 1, "rare": 2}).to_numpy(),
        task="multiclass",
        features=["x"],
        resamples=8,
        refit_rows=100,
    )
    assert found.refits == 8


def test_three_rows_can_be_fitted_again() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0], "label": [2.0, 4.0, 6.0]})
    found = measure_risk(
        Polynomial(1),
        frame,
        frame,
        frame["label"].to_numpy(),
        task="regression",
        features=["x"],
        resamples=30,
        refit_rows=100,
    )
    assert found.expected == pytest.approx(0, abs=1e-20)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 refits"):
        regression(Polynomial(1), resamples=1)
    frame = quadratic(50, 0.1)
    with pytest.raises(ValueError, match="no finite number"):
        measure_risk(
            lambda _: lambda rows: np.full(len(rows), np.nan),
            frame,
            frame,
            frame["label"].to_numpy(),
            task="regression",
            features=["x"],
            resamples=2,
            refit_rows=100,
        )
