"""Slices are judged together: one of many that looks bad by chance is not called worse."""

import numpy as np
import pytest

from ferryman.monitoring.groups import (
    Figure,
    SliceLook,
    SliceRule,
    figure,
    holm,
    judge_slices,
)

RULE = SliceRule("log_loss", lower_is_better=True, tolerance=0.05, significance=0.05, least=50)


def look(
    name: str, now: float | None, before: float | None = 0.5, error: float = 0.02, n: int = 500
) -> SliceLook:
    return SliceLook(
        column="carrier",
        value=name,
        n=n,
        labelled=n,
        now=None if now is None else Figure(now, error, n - 1),
        before=None if before is None else Figure(before, error, n - 1),
    )


def outcomes(looks: list[SliceLook], rule: SliceRule = RULE) -> list[str]:
    return [one.outcome for one in judge_slices(looks, rule)]


def test_worse_is_beyond_tolerance_and_chance() -> None:
    looks = [look("better", 0.3), look("normal", 0.54), look("unsure", 0.6), look("bad", 0.75)]
    assert outcomes(looks) == ["ok", "ok", "ok", "worse"]
    higher = SliceRule(
        "roc_auc", lower_is_better=False, tolerance=0.05, significance=0.05, least=50
    )
    assert outcomes(looks, higher) == ["worse", "ok", "ok", "ok"]


def test_the_false_alarm_rate_is_that_of_all_slices_together() -> None:
    random = np.random.default_rng(4)
    alarms = 0
    for _ in range(400):
        values = 0.55 + random.normal(0, 0.02 * np.sqrt(2), 30)  # each at its tolerance
        alarms += "worse" in outcomes([look(str(place), v) for place, v in enumerate(values)])
    assert alarms / 400 <= 0.08


def test_few_labels_are_no_figure_and_no_alarm() -> None:
    few = look("rare", None, n=12)
    [found] = judge_slices([few], RULE)
    assert (found.outcome, found.figure, found.low) == ("not_enough_labels", None, None)
    assert found.text == "carrier rare: not enough labels (n=12 < 50)"
    [found] = judge_slices([look("odd", None)], RULE)
    assert found.text == "carrier odd: log_loss cannot be had from 500 labels"
    [found] = judge_slices([look("new", 0.9, before=None)], RULE)
    assert (found.outcome, found.p_value) == ("ok", None)
    assert "no figure to compare with" in found.text


def test_holm_goes_on_while_it_rejects() -> None:
    assert holm([0.001, 0.04, 0.02, 0.9], 0.05) == [True, False, False, False]
    assert holm([0.001, 0.016, 0.012, 0.9], 0.05) == [True, True, True, False]
    assert holm([], 0.05) == []


def test_days_that_differ_widen_the_error() -> None:
    random = np.random.default_rng(2)
    days = np.repeat(np.arange(7), 200)
    alike = random.random(1400)
    stormy = alike + random.normal(0, 0.5, 7)[days]

    def error_of(values: np.ndarray) -> float:
        drawn = random.integers(0, 1400, (200, 1400))
        found = figure(lambda w: w @ values / w.sum(axis=1), days, values[drawn].mean(axis=1))
        assert found is not None
        assert found.value == pytest.approx(values.mean())
        return found.error

    assert error_of(alike) < 0.015
    assert error_of(stormy) > 0.1


def test_a_metric_that_does_not_exist_has_no_figure() -> None:
    nowhere = np.full(200, np.nan)
    assert figure(lambda w: np.full(len(w), np.nan), np.zeros(9, int), nowhere) is None
    assert figure(lambda w: np.ones(len(w)), np.zeros(0, int), nowhere) is None
