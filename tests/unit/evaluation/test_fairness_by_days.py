"""Gaps between groups are judged by days: what a day does to all of them is no gap."""

import json

import numpy as np
import pandas as pd
import pytest

from ferryman.evaluation.fairness import FairnessResult, measure_fairness
from ferryman.evaluation.fairness_days import day_errors, event_days
from ferryman.evaluation.measures import make_measures
from ferryman.evaluation.slice_gate import fairness_opinions
from ferryman.spec.evaluation import EvaluationSpec, GatesSpec


def gap(
    seed: int, days: int = 7, *, shift: float = 0.0, spread: float = 0.15, by: bool = True
) -> FairnessResult:
    """Three groups of one rate, which differs by day; they come unevenly on days."""
    random = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), 200)
    rate = 0.5 + random.normal(0, spread, days)
    shares = random.dirichlet(np.ones(3), days)
    group = (random.random(len(day))[:, None] > shares.cumsum(axis=1)[day, :2]).sum(axis=1)
    chosen = random.random(len(day)) < np.clip(rate[day] + shift * (group == 0), 0, 1)
    return measure_fairness(
        make_measures("binary"),
        pd.DataFrame({"group": [f"g{one}" for one in group]}),
        chosen,
        np.where(chosen, 0.9, 0.1),
        column="group",
        metric="selection_rate",
        min_rows=30,
        resamples=100,
        seed=seed,
        days=day if by else None,
    )


def shown(found: FairnessResult) -> bool:
    return found.interval is not None and found.interval.low > 0


def test_days_that_differ_are_no_gap() -> None:
    by_day = [shown(gap(seed, spread=0.2)) for seed in range(8)]
    by_row = [shown(gap(seed, spread=0.2, by=False)) for seed in range(8)]
    assert sum(by_day) <= 1
    assert sum(by_row) >= 3  # what days are there for


def test_a_planted_gap_is_shown_still() -> None:
    found = gap(3, 14, shift=0.45, spread=0.05)
    assert shown(found)
    assert (found.by, found.highest) == ("days", "g0")
    assert ", by days" in found.text
    json.dumps(found.as_json(), allow_nan=False)


def test_a_few_days_are_judged_by_rows_and_it_is_said() -> None:
    found = gap(1, 3)
    assert found.by == "rows"
    assert "by days" not in found.text
    assert found.interval == gap(1, 3, by=False).interval


def test_what_a_day_does_to_both_groups_at_once_cancels() -> None:
    random = np.random.default_rng(1)
    day = np.repeat(np.arange(8), 100)
    both = random.normal(0, 1, 8)[day]
    groups = [both + random.normal(0, 0.1, 800) for _ in range(2)]
    found = day_errors(
        [(lambda w, own=own: w @ own / w.sum(axis=1), day) for own in groups],
        np.array([0.0035, 0.0035]),
    )
    assert found is not None
    assert found.errors.min() > 0.1
    assert found.between(np.array([0]), np.array([1]))[0] < 0.02
    assert found.freedom == pytest.approx([7, 7])


def test_a_group_of_few_days_has_the_error_of_rows_times_what_days_add() -> None:
    random = np.random.default_rng(2)
    long, short = np.repeat(np.arange(8), 100), np.repeat([6, 7], 100)
    groups = [(random.normal(0, 1, 8)[long], long), (random.normal(0, 1, 200), short)]
    given = [(lambda w, own=own: w @ own / w.sum(axis=1), day) for own, day in groups]
    found = day_errors(given, np.array([0.03, 0.07]))
    assert found is not None
    more = found.errors[0] / 0.03
    assert more > 3
    assert found.errors[1] == pytest.approx(0.07 * more)
    assert day_errors(given[1:], np.array([0.07])) is None


def test_days_are_those_of_events_in_utc() -> None:
    times = pd.to_datetime(["2024-01-01T23:59Z", "2024-01-02T00:00Z", "1969-12-31T12:00Z"])
    days = event_days(pd.DataFrame({"event_time": times}))
    assert days is not None
    assert days.tolist() == [19723, 19724, -1]
    assert event_days(pd.DataFrame({"group": ["a"]})) is None
    assert event_days(pd.DataFrame({"event_time": [*times[:2], pd.NaT]})) is None


def test_the_gate_judges_by_the_days_of_its_rows() -> None:
    random = np.random.default_rng(4)
    day = np.repeat(np.arange(7), 200)
    group = np.where(random.random(1400) < np.where(day < 2, 0.9, 0.2), "a", "b")
    late = random.random(1400) < np.where(day < 2, 0.9, 0.3)  # two stormy days, mostly of a
    frame = pd.DataFrame({"group": group})
    gates = GatesSpec.model_validate(
        {
            "thresholds": {"roc_auc": {"min": 0.5}},
            "fairness": [{"column": "group", "metric": "selection_rate", "max_gap": 0.1}],
        }
    )

    def said(rows: pd.DataFrame) -> str:
        [(outcome, text)] = fairness_opinions(
            gates,
            EvaluationSpec(),
            make_measures("binary"),
            rows,
            labels=late,
            candidate=np.where(late, 0.9, 0.1),
        )
        assert ("by days" in text) == ("event_time" in rows.columns)
        return outcome

    assert said(frame) == "failed"
    times = pd.to_datetime(day, unit="D", utc=True)
    assert said(frame.assign(event_time=times)) == "passed"
