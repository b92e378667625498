"""A night's comparisons: which are alarms, which were told before, and what quiet nights allow."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ferryman.errors import IntegrityBroken
from ferryman.monitoring.drift_findings import Comparison, Finding, Night, judge, remember
from ferryman.monitoring.drift_history import DriftHistory
from ferryman.monitoring.drift_thresholds import quiet_reach
from ferryman.spec.monitoring import DriftSpec
from ferryman.spec.windows import Window

SPEC = DriftSpec(effect=0.15, significance=0.001)
START = datetime(2024, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def compared(effect: float | None, p_value: float | None = 1e-9, subject: str = "x") -> Comparison:
    return Comparison("column", "training", subject, subject, effect, "shift", p_value, "it moved")


def live(*nights: list[Comparison], version: int = 1, versions: list[int] | None = None) -> list:
    """The findings of each of several nights in a row."""
    kept: list[Night] = []
    found: list[list[Finding]] = []
    for place, comparisons in enumerate(nights):
        now = versions[place] if versions else version
        start = START + place * DAY
        found.append(judge(comparisons, kept, SPEC, start=start, version=now))
        span = (start, start + DAY)
        kept.append(remember(comparisons, found[-1], span=span, version=now))
    return [[finding.outcome for finding in findings] for findings in found]


def test_an_alarm_needs_an_effect_and_more_than_chance() -> None:
    assert live([compared(0.3)]) == [["alarm"]]
    assert live([compared(0.1)]) == [[]]
    assert live([compared(0.3, p_value=0.01)]) == [[]]
    assert live([compared(None, None)]) == live([]) == [[]]


def test_the_rate_is_that_of_a_night_over_all_comparisons() -> None:
    alone = [compared(0.3, p_value=0.0005)]
    assert live(alone) == [["alarm"]]
    others = [compared(0.3, p_value=0.5, subject=f"y{place}") for place in range(9)]
    assert live([*alone, *others]) == [[]]


def test_looking_for_units_costs_the_others_a_twentieth_of_the_rate() -> None:
    looked = [
        Comparison("unit", "previous", f"unit of y{place}", f"y{place}", 2.0, "unit", 0.5, "no")
        for place in range(40)
    ]
    assert live([compared(0.3, p_value=0.0009), *looked]) == [["alarm"]]
    assert live([compared(0.3, p_value=0.00097), *looked]) == [[]]
    looked[0] = replace(looked[0], p_value=1e-6)
    assert live(looked) == [["alarm"]]
    looked[0] = replace(looked[0], p_value=2e-6)
    assert live(looked) == [[]]


def test_a_change_that_lasts_is_told_once() -> None:
    assert live(*[[compared(0.3)]] * 4) == [["alarm"], ["still"], ["still"], ["still"]]


def test_a_change_that_doubles_is_told_again() -> None:
    nights = [[compared(0.3)], [compared(0.5)], [compared(1.1)], [compared(1.2)]]
    assert live(*nights) == [["alarm"], ["still"], ["alarm"], ["still"]]


def test_another_champion_is_told_anew() -> None:
    nights = [[compared(0.3)]] * 3
    assert live(*nights, versions=[1, 1, 2]) == [["alarm"], ["still"], ["alarm"]]


def test_what_was_gone_for_longer_than_the_window_is_told_again() -> None:
    quiet = [compared(0.01, p_value=0.5)]
    for gap, outcome in ((6, "still"), (9, "alarm")):
        assert live([compared(0.3)], *[quiet] * gap, [compared(0.3)])[-1] == [outcome]


def test_two_subjects_are_two_alarms_and_two_sorts_of_one_are_found_together() -> None:
    sudden = Comparison("previous", "previous", "x", "x", 0.4, "shift", 1e-9, "it broke")
    assert live([compared(0.3), compared(0.3, subject="y")]) == [["alarm", "alarm"]]
    assert live([sudden], [sudden, compared(0.3)]) == [["alarm"], ["still", "still"]]


def past(effects: list[float], key: str) -> list[Night]:
    """Nights before START with an effect each."""
    begin = START - len(effects) * DAY
    return [
        Night(
            start=(begin + place * DAY).isoformat(),
            end=(begin + (place + 1) * DAY).isoformat(),
            version=1,
            effects={key: effect},
        )
        for place, effect in enumerate(effects)
    ]


def test_a_break_must_exceed_what_the_models_quiet_nights_reach() -> None:
    break_ = Comparison("previous", "previous", "x", "x", 0.5, "shift", 1e-9)
    weekends = [0.1, 0.1, 0.1, 0.1, 0.1, 0.6, 0.5] * 4
    restless = judge([break_], past(weekends + [0.1] * 7, break_.key), SPEC, start=START, version=1)
    assert restless == []
    calm = judge([break_], past([0.02, 0.03] * 14, break_.key), SPEC, start=START, version=1)
    assert [finding.outcome for finding in calm] == ["alarm"]
    assert calm[0].threshold == SPEC.effect


def test_the_nights_of_a_change_that_is_not_told_yet_do_not_raise_its_threshold() -> None:
    for against in ("previous", "training"):
        change = Comparison("column", against, "x", "x", 0.9, "shift", 1e-9)
        begun = [0.0, 0.02, 0.01] * 10 + [0.15, 0.3, 0.45, 0.6, 0.75]
        found = judge([change], past(begun, change.key), SPEC, start=START, version=1)
        assert [finding.outcome for finding in found] == ["alarm"]
        # What was so for long before is how the model's nights are.
        usual = past([0.0, 0.6, 0.9, 0.9, 0.5, 0.1, 0.0, 0.0, 0.0] * 5, change.key)
        assert judge([change], usual, SPEC, start=START, version=1) == []


def test_few_nights_and_nights_with_findings_calibrate_nothing() -> None:
    key = compared(0.3).key.replace("training", "previous")
    assert quiet_reach(key, "previous", past([0.5] * 13, key), SPEC, 1e-4) == 0
    loud = [
        Night(night.start, night.end, 1, night.effects, over=[key]) for night in past([2] * 20, key)
    ]
    assert quiet_reach(key, "previous", loud, SPEC, 1e-4) == 0


def test_a_slow_change_does_not_raise_its_own_threshold() -> None:
    key = compared(0.3).key
    slow = past([place * 0.005 for place in range(60)], key)
    assert quiet_reach(key, "training", slow, SPEC, 1e-4) < 0.3
    restless = past([0.0, 0.4, 0.1, 0.5, 0.0, 0.3, 0.2, 0.6] * 8, key)
    assert quiet_reach(key, "training", restless, SPEC, 1e-4) > 0.6


def test_a_night_is_kept_once_and_read_by_later_nights_only(tmp_path: Path) -> None:
    history = DriftHistory(tmp_path)
    window = Window(start=START, end=START + DAY)
    for effect in (0.3, 0.4):
        found = judge([compared(effect)], [], SPEC, start=START, version=1)
        night = remember([compared(effect)], found, span=(START, START + DAY), version=1)
        history.write("m", window, night)
    assert history.before("m", START) == []
    assert history.before("m", START + DAY) == [night]
    assert history.before("other", START + DAY) == []
    history.file("m", window).write_text('{"start": 1}')
    with pytest.raises(IntegrityBroken, match="remembers of a night"):
        history.before("m", START + DAY)
