"""Behavioural tests tell a model that behaves from one that does not, and show the rows."""

import json

import numpy as np
import pandas as pd
import pytest

from ferryman.evaluation.behaviour import behaviour_opinions, run_behaviour
from ferryman.spec.data import FeatureSpec
from ferryman.spec.evaluation import DirectionSpec, ExampleSpec, InvarianceSpec

FEATURES = {
    "age": FeatureSpec(type="integer"),
    "income": FeatureSpec(type="number"),
    "gender": FeatureSpec(type="category"),
}
GENERATOR = np.random.default_rng(5)
ROWS = 300
FRAME = pd.DataFrame(
    {
        "event_time": pd.Timestamp("2013-01-01", tz="UTC"),
        "age": GENERATOR.integers(18, 90, ROWS),
        "income": np.where(GENERATOR.random(ROWS) < 0.1, np.nan, GENERATOR.random(ROWS)),
        "gender": GENERATOR.choice(["f", "m", None], ROWS),
    },
    index=np.arange(ROWS) * 10,
)


def fair(frame: pd.DataFrame) -> np.ndarray:
    assert list(frame.columns) == list(FEATURES)
    income = frame["income"].fillna(0.5).to_numpy(dtype=float)
    return 0.2 + 0.5 * income + frame["age"].fillna(40).to_numpy(dtype=float) / 1000


def unfair(frame: pd.DataFrame) -> np.ndarray:
    return fair(frame) + 0.2 * (frame["gender"] == "f").to_numpy()


def invariance(**given: object) -> InvarianceSpec:
    return InvarianceSpec(kind="invariance", name="gender", columns=["gender"], **given)


def direction(**given: object) -> DirectionSpec:
    settings = {"column": "income", "by": 0.1, "expect": "higher", **given}
    return DirectionSpec(kind="direction", name="more income", **settings)


def run(test, predict, frame=FRAME, classes=()):
    return run_behaviour([test], frame, predict, features=FEATURES, classes=classes, seed=1)[0]


def test_invariance_tells_a_fair_model_from_an_unfair_one() -> None:
    good, bad = run(invariance(), fair), run(invariance(), unfair)
    assert (good.outcome, good.share, good.misses) == ("passed", 1.0, ())
    assert bad.outcome == "failed"
    # Rows that got their own value back are not counted: about two thirds changed.
    assert 0.55 * ROWS < bad.rows < 0.78 * ROWS
    # Of the changed rows those that went between m and null keep their answer: a third.
    assert bad.share == pytest.approx(1 / 3, abs=0.1)
    miss = bad.misses[0]
    assert "f" in miss.changed["gender"]
    assert miss.changed["gender"][0] != miss.changed["gender"][1]
    assert abs(miss.before - miss.after) == pytest.approx(0.2)
    assert len(bad.misses) == 3
    before, after = unfair(FRAME[list(FEATURES)])[miss.row], miss.after
    assert miss.before == before
    assert after != before


def test_invariance_has_a_tolerance_and_a_share() -> None:
    assert run(invariance(tolerance=0.2001), unfair).outcome == "passed"
    assert run(invariance(share=0.1), unfair).outcome == "passed"


def test_direction_counts_the_rows_that_follow() -> None:
    up = run(direction(), fair)
    assert up.rows == FRAME["income"].notna().sum()
    assert (up.outcome, up.share) == ("passed", 1.0)
    down = run(direction(expect="lower"), fair)
    assert (down.outcome, down.held) == ("failed", 0)
    assert down.misses[0].changed["income"][1] == pytest.approx(
        down.misses[0].changed["income"][0] + 0.1
    )
    assert run(direction(expect="lower", tolerance=0.051), fair).outcome == "passed"
    assert run(direction(by=-0.1, expect="lower"), fair).outcome == "passed"


def test_an_answer_that_stays_follows_the_direction() -> None:
    found = run(direction(column="age", expect="lower"), lambda frame: np.full(len(frame), 0.3))
    assert found.share == 1.0


def test_the_meant_class_is_looked_at() -> None:
    def answer(frame: pd.DataFrame) -> np.ndarray:
        yes = fair(frame)
        return np.stack([1 - yes, yes], axis=1)

    classes = ("no", "yes")
    assert run(direction(of_class="yes"), answer, classes=classes).outcome == "passed"
    assert run(direction(of_class="no"), answer, classes=classes).outcome == "failed"
    changed = run(
        invariance(), lambda frame: answer(frame) + unfair(frame)[:, None], classes=classes
    )
    assert changed.outcome == "failed"
    assert len(changed.misses[0].before) == 2
    row = ExampleSpec(kind="example", name="rich", row={"income": 1.0}, of_class="no", max=0.3)
    assert run(row, answer, classes=classes).outcome == "passed"


def test_an_example_is_one_row_of_declared_columns() -> None:
    seen = []

    def look(frame: pd.DataFrame) -> np.ndarray:
        seen.append(frame)
        return fair(frame)

    test = ExampleSpec(kind="example", name="rich", row={"income": 1, "age": None}, min=0.7, max=1)
    assert run(test, look).outcome == "passed"
    row = seen[0].iloc[0]
    assert list(seen[0].columns) == list(FEATURES)
    assert np.isnan(row["age"])
    assert row["gender"] == ""
    failed = run(test.model_copy(update={"min": 0.9}), look)
    assert failed.outcome == "failed"
    assert failed.misses[0].after == pytest.approx(0.74)
    assert behaviour_opinions([failed]) == [
        ("failed", "behaviour 'rich': the answer is at least 0.9 and at most 1: the answer is 0.74")
    ]


def test_an_answer_that_is_no_number_never_behaves() -> None:
    def broken(frame: pd.DataFrame) -> np.ndarray:
        return np.full(len(frame), np.nan)

    example = ExampleSpec(kind="example", name="any", row={}, min=0)
    for test in (invariance(), direction(), example):
        found = run(test, broken)
        assert (found.outcome, found.held) == ("failed", 0)
        assert found.misses[0].after is None
        json.dumps(found.as_json(), allow_nan=False)
        assert behaviour_opinions([found])[0][0] == "failed"


@pytest.mark.parametrize("frame", [FRAME[:0], FRAME.assign(gender="f", income=np.nan)])
def test_what_cannot_be_tested_is_undecided(frame: pd.DataFrame) -> None:
    for test in (invariance(), direction()):
        found = run(test, fair, frame=frame)
        assert (found.outcome, found.share) == ("undecided", None)
        assert "could not be tested" in behaviour_opinions([found])[0][1]


def test_columns_move_together() -> None:
    def together(frame: pd.DataFrame) -> np.ndarray:
        return (frame["gender"].map({"f": 1, "m": 2}) - frame["age"]).fillna(0).to_numpy(float)

    frame = pd.DataFrame({"age": [1, 2] * 50, "income": 0.0, "gender": ["f", "m"] * 50})
    test = InvarianceSpec(kind="invariance", name="pair", columns=["gender", "age"])
    assert run(test, together, frame=frame).outcome == "passed"
    alone = InvarianceSpec(kind="invariance", name="pair", columns=["gender"])
    assert run(alone, together, frame=frame).outcome == "failed"


def test_nullable_integers_and_seeds() -> None:
    frame = FRAME.assign(age=FRAME["age"].astype("Int64").mask(FRAME["age"] > 80))
    test = DirectionSpec(kind="direction", name="age", column="age", by=1, expect="lower")
    found = run(test, fair, frame=frame)
    assert found.rows == frame["age"].notna().sum()
    assert found.misses[0].changed["age"][1] == found.misses[0].changed["age"][0] + 1
    assert run(invariance(), unfair) == run(invariance(), unfair)


def test_opinions_give_the_figures() -> None:
    text = behaviour_opinions([run(direction(), fair)])[0][1]
    assert "held on 100.00% of" in text
    assert "at least 90.00%" in text
