"""Slices: every row in one part, figures equal to those of the rows alone, few rows say nothing."""

import json

import numpy as np
import pandas as pd
import pytest

from ferryman.evaluation.intervals import bootstrap
from ferryman.evaluation.measures import make_measures
from ferryman.evaluation.slices import MOST_VALUES, NO_VALUE, measure_slices, part_rows
from ferryman.spec.evaluation import SliceSpec

GENERATOR = np.random.default_rng(3)
ROWS = 400
FRAME = pd.DataFrame(
    {
        "carrier": GENERATOR.choice(["AA", "B6", None, "DL"], ROWS, p=[0.5, 0.3, 0.15, 0.05]),
        "distance": GENERATOR.lognormal(6, 1, ROWS).round(2),
    }
)
LABELS = GENERATOR.random(ROWS) < 0.4
SCORES = np.clip(0.4 + 0.3 * (LABELS - 0.4) + GENERATOR.normal(0, 0.2, ROWS), 0.01, 0.99)
BINARY = make_measures("binary")


def measured(*slices: SliceSpec, min_rows: int = 50, seed: int = 0) -> list:
    return measure_slices(
        BINARY, FRAME, LABELS, SCORES, slices, min_rows=min_rows, resamples=200, seed=seed
    )


def test_figures_and_intervals_are_those_of_the_rows_alone() -> None:
    found = {part.value: part for part in measured(SliceSpec(column="carrier"))}
    assert list(found) == ["AA", "B6", "DL", NO_VALUE]
    rows = (FRAME["carrier"] == "B6").to_numpy()
    expected = BINARY.score(LABELS[rows], SCORES[rows])
    assert found["B6"].rows == rows.sum()
    assert found["B6"].metrics == pytest.approx({name: expected[name] for name in BINARY.names})
    alone = bootstrap(BINARY, LABELS[rows], SCORES[rows], resamples=200)
    assert found["B6"].intervals == alone
    nulls = FRAME["carrier"].isna().to_numpy()
    assert found[NO_VALUE].metrics["brier"] == pytest.approx(((SCORES - LABELS)[nulls] ** 2).mean())


def test_too_few_rows_have_no_figures() -> None:
    small = next(part for part in measured(SliceSpec(column="carrier")) if part.value == "DL")
    assert small.rows < 50
    assert (small.enough, small.metrics, small.intervals) == (False, {}, {})
    assert "not enough data" in small.text


def test_a_metric_that_a_slice_cannot_have_is_none() -> None:
    labels = LABELS & (FRAME["carrier"] != "B6").to_numpy()
    found = measure_slices(
        BINARY, FRAME, labels, SCORES, [SliceSpec(column="carrier")], min_rows=50, resamples=200
    )
    negative = next(part for part in found if part.value == "B6")
    assert negative.enough
    assert negative.metrics["roc_auc"] is None
    assert negative.intervals["roc_auc"] is None
    assert negative.metrics["brier"] is not None


def test_results_are_json_and_repeat_with_the_seed() -> None:
    specs = SliceSpec(column="carrier"), SliceSpec(column="distance", bins=3)
    one, two = measured(*specs), measured(*specs)
    assert [part.as_json() for part in one] == [part.as_json() for part in two]
    text = json.dumps([part.as_json() for part in one], allow_nan=False)
    assert '"low"' in text


def test_slices_of_classes_and_numbers_are_measured_too() -> None:
    places = GENERATOR.integers(0, 3, ROWS)
    shares = GENERATOR.dirichlet([1, 1, 1], ROWS)
    spec = [SliceSpec(column="carrier")]
    classes = make_measures("multiclass", ["a", "b", "c"])
    found = measure_slices(classes, FRAME, places, shares, spec, min_rows=50, resamples=200)
    rows = (FRAME["carrier"] == "AA").to_numpy()
    assert found[0].metrics["accuracy"] == pytest.approx(
        (shares.argmax(axis=1) == places)[rows].mean()
    )
    numbers = make_measures("regression")
    found = measure_slices(numbers, FRAME, SCORES * 9, SCORES, spec, min_rows=50, resamples=200)
    assert found[0].metrics["mae"] == pytest.approx((SCORES * 8)[rows].mean())


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(["b", "a", "a", None, "", "c"]),
        pd.Series(["b", "a", "a", None, "", "c"], dtype="category"),
        pd.Series([1.0, 2.0, np.nan, 2.0, np.inf]),
        pd.Series([1, 2, None, 2], dtype="Int64"),
        pd.Series([True, False, True]),
        pd.Series([0.0] * 90 + list(range(1, 41)) + [np.nan] * 3),
        pd.Series(GENERATOR.normal(size=200)),
        pd.Series([7.0] * 30),
        pd.Series([np.nan, np.nan]),
        pd.Series([], dtype="float64"),
        pd.Series([f"v{number % 70}" for number in range(500)]),
    ],
)
@pytest.mark.parametrize("bins", [None, 2, 20])
def test_every_row_is_in_one_part(values: pd.Series, bins: int | None) -> None:
    parts = part_rows(values, bins)
    places = np.concatenate([part.places for part in parts]) if parts else np.array([])
    assert sorted(places) == list(range(len(values)))
    assert all(len(part.places) for part in parts)
    assert len({part.name for part in parts}) == len(parts)


def test_bins_have_equal_counts_and_are_named_by_their_bounds() -> None:
    parts = part_rows(pd.Series(np.arange(100) / 10), 4)
    assert [part.name for part in parts] == ["0 to 2.4", "2.5 to 4.9", "5 to 7.4", "7.5 to 9.9"]
    assert {len(part.places) for part in parts} == {25}


def test_a_frequent_number_keeps_its_own_bin() -> None:
    parts = part_rows(pd.Series([0.0] * 90 + [float(n) for n in range(1, 41)]), 4)
    assert parts[0].name == "0"
    assert len(parts[0].places) == 90


def test_numbers_of_few_values_are_parted_by_value() -> None:
    parts = part_rows(pd.Series([3, 1, 2, 1, 10]))
    assert [part.name for part in parts] == ["1", "2", "3", "10"]


def test_bounds_that_are_close_keep_names_apart() -> None:
    values = pd.Series(1_000_000 + np.arange(100) / 1000)
    assert len({part.name for part in part_rows(values, 4)}) == 4


def test_rare_values_are_looked_at_together() -> None:
    values = pd.Series([f"v{n}" for n in range(60) for _ in range(60 - n)])
    parts = part_rows(values)
    assert len(parts) == MOST_VALUES + 1
    assert [part.name for part in parts[:2]] == ["v0", "v1"]
    assert parts[-1].name == "(other: 10 values)"
    assert len(parts[-1].places) == sum(range(1, 11))


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="400 rows, 399 labels"):
        measure_slices(
            BINARY, FRAME, LABELS[1:], SCORES, [SliceSpec(column="carrier")], min_rows=50
        )
