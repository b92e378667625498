"""The learning curve tells planted faults apart, whatever the seed, and says when it cannot."""

import json
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeRegressor

from ferryman.evaluation.learning_curve import LearningCurve, learning_curve
from ferryman.evaluation.measures import make_measures
from ferryman.spec.metrics import Task

Predict = Callable[[pd.DataFrame], npt.NDArray[np.float64]]
SEEDS = range(3)


def example(rows: int, seed: int, share: float = 1.0) -> pd.DataFrame:
    """y = x^2 and normal noise; `share` of the signal is left, 0 leaves noise."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(-1, 2, rows)
    return pd.DataFrame({"x": x, "label": share * x**2 + generator.normal(0, 0.3, rows)})


def polynomial(degree: int) -> Callable[[pd.DataFrame], Predict]:
    def fit(frame: pd.DataFrame) -> Predict:
        line = np.polynomial.Polynomial.fit(frame["x"], frame["label"], degree)
        return lambda rows: line(rows["x"].to_numpy())

    return fit


def tree(frame: pd.DataFrame) -> Predict:
    """Without a limit of depth: it remembers each row that it was fitted on."""
    found = DecisionTreeRegressor(random_state=0).fit(frame[["x"]], frame["label"])
    return lambda rows: found.predict(rows[["x"]])


def curve(
    fit: Callable[[pd.DataFrame], Predict],
    train: pd.DataFrame,
    evaluation: pd.DataFrame,
    **settings: int,
) -> LearningCurve:
    return learning_curve(
        fit,
        train,
        evaluation,
        make_measures("regression"),
        train_labels=train["label"].to_numpy(),
        labels=evaluation["label"].to_numpy(),
        task="regression",
        metric="rmse",
        features=["x"],
        **{"points": 4, "refit_rows": 5000, "resamples": 100, **settings},
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_planted_faults_are_told_apart(seed: int) -> None:
    data = example(500, seed), example(300, seed + 100)
    verdicts = {
        "line": curve(polynomial(1), *data, seed=seed),
        "parabola": curve(polynomial(2), *data, seed=seed),
        "tree": curve(tree, *data, seed=seed),
    }
    assert {name: found.diagnosis.verdict for name, found in verdicts.items()} == {
        "line": "under-fitting",
        "parabola": "good fit",
        "tree": "over-fitting",
    }
    # The line is far better than a constant: it is what its errors still hold that tells.
    assert verdicts["line"].diagnosis.evaluation_level < 0.6
    assert verdicts["line"].diagnosis.left.low > 0.3
    assert verdicts["parabola"].diagnosis.left.low < 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_is_remembered_or_left_alone(seed: int) -> None:
    noise = example(500, seed, share=0), example(300, seed + 100, share=0)
    memory = curve(tree, *noise, seed=seed).diagnosis
    assert memory.verdict == "over-fitting"
    assert memory.train_level == 0
    assert memory.evaluation_level > 1.5
    calm = curve(polynomial(1), *noise, seed=seed).diagnosis
    assert calm.verdict == "under-fitting"
    assert "features say too little" in calm.reason


@pytest.mark.parametrize("seed", SEEDS)
def test_more_rows_would_help_a_rich_model_on_few_rows(seed: int) -> None:
    generator = np.random.default_rng(seed)
    weights = generator.normal(size=20)

    def rows(count: int) -> pd.DataFrame:
        values = generator.normal(size=(count, 20))
        frame = pd.DataFrame(values, columns=[f"x{n}" for n in range(20)])
        return frame.assign(label=values @ weights + generator.normal(0, 3, count))

    def fit(frame: pd.DataFrame) -> Predict:
        values = frame.filter(like="x").to_numpy()
        found = np.linalg.solve(values.T @ values + np.eye(20), values.T @ frame["label"])
        return lambda rows: rows.filter(like="x").to_numpy() @ found

    train, evaluation = rows(60), rows(1000)
    found = learning_curve(
        fit,
        train,
        evaluation,
        make_measures("regression"),
        train_labels=train["label"].to_numpy(),
        labels=evaluation["label"].to_numpy(),
        task="regression",
        metric="mae",
        features=list(train.columns[:20]),
        points=5,
        refit_rows=5000,
        resamples=200,
        seed=seed,
    )
    assert found.diagnosis.verdict == "more rows would help", found.text
    assert found.points[-1].evaluation < found.points[1].evaluation


def test_points_are_the_metric_on_nested_parts() -> None:
    frames: list[pd.DataFrame] = []

    def fit(frame: pd.DataFrame) -> Predict:
        frames.append(frame)
        return polynomial(2)(frame)

    train, evaluation = example(400, 1), example(300, 2)
    found = curve(fit, train, evaluation, refit_rows=200, points=4)
    assert [point.rows for point in found.points] == [len(frame) for frame in frames]
    assert found.points[0].rows == 10
    assert found.points[-1].rows == 200
    for small, large in pairwise(frames):
        assert set(small.index) < set(large.index)
    last = polynomial(2)(frames[-1])
    for rows, score in (
        (frames[-1], found.points[-1].train),
        (evaluation, found.points[-1].evaluation),
    ):
        assert score == pytest.approx(np.sqrt(((last(rows) - rows["label"]) ** 2).mean()))
    interval = found.points[-1].evaluation_interval
    assert interval.low < found.points[-1].evaluation < interval.high
    assert curve(fit, train, evaluation, refit_rows=200, points=4) == found
    json.dumps(found.as_json(), allow_nan=False)


class Shares:
    """Answers the share of each class among rows of equal x."""

    def __init__(self, classes: list, binary: bool) -> None:
        self.classes, self.binary = classes, binary

    def __call__(self, frame: pd.DataFrame) -> Predict:
        assert set(frame["label"]) == set(self.classes)
        counted = pd.crosstab(frame["x"], frame["label"]).reindex(columns=self.classes) + 0.2
        shares = counted.div(counted.sum(axis=1), axis=0)

        def predict(rows: pd.DataFrame) -> npt.NDArray[np.float64]:
            answers = shares.reindex(rows["x"]).fillna(1 / len(self.classes)).to_numpy()
            return answers[:, 1] if self.binary else answers

        return predict


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_probabilities_are_judged_too(task: Task) -> None:
    generator = np.random.default_rng(6)
    x = generator.choice(["a", "b", "c", None], 2000)
    y = generator.integers(0, 4, 2000)
    yes = generator.random(2000) < pd.Series(x).map({"a": 0.1, "b": 0.5, "c": 0.9}).fillna(0.5)
    labels = np.array(yes, dtype=np.bool_ if task == "binary" else np.int64)
    if task == "multiclass":
        labels[7] = 2  # one row alone of its class
    names = [False, True] if task == "binary" else ["no", "yes", "rare"]
    frame = pd.DataFrame({"x": x, "y": y, "label": [names[int(place)] for place in labels]})

    def told(column: str) -> LearningCurve:
        return learning_curve(
            Shares(names, task == "binary"),
            frame[:1000].assign(x=frame[column].astype(object).where(frame[column].notna(), "-")),
            frame[1000:].assign(x=frame[column].astype(object).where(frame[column].notna(), "-")),
            make_measures(task, [str(name) for name in names] if task == "multiclass" else []),
            train_labels=labels[:1000],
            labels=labels[1000:],
            task=task,
            metric="brier",
            features=["x", "y"],
            points=4,
            refit_rows=5000,
            resamples=200,
        )

    assert told("x").diagnosis.verdict == "good fit"
    assert told("y").diagnosis.verdict == "under-fitting"


def test_what_cannot_be_judged_is_said() -> None:
    few = pd.DataFrame({"x": [1.0, 2.0, 3.0], "label": [2.0, 4.0, 6.0]})
    found = curve(polynomial(1), few, few)
    assert found.text == "not enough data: 3 training and 3 evaluation rows"
    assert [point.rows for point in found.points] == [3]
    train, evaluation = example(100, 1), example(100, 2)
    broken = curve(lambda _: lambda rows: np.full(len(rows), np.nan), train, evaluation)
    assert broken.text == "not enough data: some answers are no numbers"
    assert broken.points[0].evaluation is None
    same = curve(polynomial(1), train, evaluation.assign(label=train["label"].mean()))
    assert same.diagnosis.verdict == "not enough data"
    with pytest.raises(ValueError, match="needs a point"):
        curve(polynomial(1), train, evaluation, points=0)


def test_an_exact_model_fits_well() -> None:
    train, evaluation = example(200, 1), example(300, 2)
    exact = [frame.assign(label=frame["x"] ** 2) for frame in (train, evaluation)]
    assert curve(polynomial(2), *exact).diagnosis.verdict == "good fit"
