"""Whatever nights bring: the budget and the cool-down hold, and what a probe says is followed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.monitoring.probe import ProbeFinding, judge_probe
from ferryman.monitoring.retraining import Champion, Decision, Evidence, decide, wants_probe
from ferryman.spec.monitoring import MonitorSpec
from ferryman.spec.windows import Window, day_window

DAY0 = day_window(datetime(2013, 3, 1, tzinfo=UTC))
CHAMPION = Champion(version=3, cutoff=DAY0.start - timedelta(days=10), gate_value=0.50)
WORSE = Evidence(text="log_loss 0.56", value=0.56, low=0.53, high=0.59)
QUIET = Evidence(text="log_loss 0.50", value=0.50, low=0.47, high=0.53)
HELPS = ProbeFinding("helps", "log_loss better by +0.0300", "log_loss", 0.03, 0.02, 0.04)
USELESS = ProbeFinding("useless", "log_loss better by -0.0100", "log_loss", -0.01, -0.02, 0.0)
UNDECIDED = ProbeFinding("undecided", "not enough labels", "log_loss")


def day(offset: int) -> Window:
    return DAY0.shifted(timedelta(days=offset))


def monitor(**retrain: object) -> MonitorSpec:
    return MonitorSpec.model_validate({"retrain": retrain})


def night(
    spec: MonitorSpec,
    window: Window,
    evidence: Evidence,
    history: list[Decision],
    probe: ProbeFinding | None,
) -> Decision:
    """As the step decides: a probe is made where the first decision wants one."""
    first = decide(spec, window, CHAMPION, evidence, history)
    if not wants_probe(spec, first):
        return first
    return decide(spec, window, CHAMPION, evidence, history, probe=probe)


NIGHTS = st.lists(
    st.tuples(st.sampled_from([WORSE, QUIET]), st.sampled_from([HELPS, USELESS, UNDECIDED])),
    min_size=1,
    max_size=25,
)


@settings(max_examples=30)
@given(nights=NIGHTS, cool_down=st.integers(1, 9), per_week=st.integers(1, 4))
def test_brakes_hold_and_a_night_decides_the_same_again(
    nights: list[tuple[Evidence, ProbeFinding]], cool_down: int, per_week: int
) -> None:
    spec = monitor(cool_down=f"{cool_down}d", per_week=per_week)
    history: list[Decision] = []
    for offset, (evidence, probe) in enumerate(nights):
        history.append(night(spec, day(offset), evidence, history, probe))
    asked = [offset for offset, decision in enumerate(history) if decision.retrain]
    assert all(later - sooner >= cool_down for sooner, later in pairwise(asked))
    assert all(sum(first <= one < first + 7 for one in asked) <= per_week for first in asked)
    assert all(nights[offset][0] is WORSE for offset in asked)
    assert all(nights[offset][1] is not USELESS for offset in asked)
    for offset, (evidence, probe) in enumerate(nights):
        assert night(spec, day(offset), evidence, history, probe) == history[offset]


@pytest.mark.parametrize(
    ("evidence", "retrain", "cause"),
    [
        (WORSE, {}, "quality"),  # feedback: labels came, and said so
        (Evidence(drifted=("temp",)), {}, "drift"),
        (Evidence(new_rows=1000), {"new_rows": 1000}, "new_data"),
        (Evidence(), {"max_age": "10d"}, "age"),  # the schedule of a model without news
        (Evidence(code="the folder is a, version 3 was made of b"), {"on_commit": True}, "commit"),
        (Evidence(person="ann", wish="new planes since Monday"), {}, "person"),
    ],
)
def test_each_trigger_asks_once_and_says_who_and_why(
    evidence: Evidence, retrain: dict[str, object], cause: str
) -> None:
    spec, evidence = monitor(**retrain), replace(evidence, report="reports/20130301.json")
    history: list[Decision] = []
    for offset in range(5):  # what called for it goes on for as long as the cool-down
        history.append(night(spec, day(offset), evidence, history, HELPS))
    assert [decision.retrain for decision in history] == [True, False, False, False, False]
    first = history[0]
    assert first.causes == [cause] and first.reason.startswith(f"{cause}: ")
    assert first.reason == f"{cause}: {first.texts[cause]}"
    assert first.evidence["report"] == "reports/20130301.json"
    assert "cool-down" in history[1].reason


def test_fewer_rows_an_equal_folder_and_nobody_are_no_trigger() -> None:
    spec = monitor(new_rows=1000, on_commit=True)
    assert decide(spec, DAY0, CHAMPION, Evidence(new_rows=999), []).causes == []
    # Figures of what nobody declared as a reason are none.
    told = Evidence(new_rows=10**6, code="the folder is a, version 3 was made of b")
    assert decide(monitor(), DAY0, CHAMPION, told, []).causes == []


def test_a_probe_that_advises_against_is_followed_and_rests() -> None:
    spec = monitor(probe={"rests": "3d"})
    first = night(spec, DAY0, WORSE, [], USELESS)
    assert (first.retrain, first.asked) == (False, False)
    assert "would not have helped: log_loss better by -0.0100" in first.reason
    assert first.probe is not None and first.probe["outcome"] == "useless"
    for offset in (1, 2):
        resting = decide(spec, day(offset), CHAMPION, WORSE, [first])
        assert not resting.retrain and "the probe of 2013-03-01" in resting.reason
        assert not wants_probe(spec, resting)
    assert night(spec, day(3), WORSE, [first], HELPS).retrain


def test_where_the_probe_cannot_tell_the_declaration_says_what_is_done() -> None:
    assert night(monitor(), DAY0, WORSE, [], UNDECIDED).retrain
    waits = night(monitor(probe={"undecided": "wait"}), DAY0, WORSE, [], UNDECIDED)
    assert not waits.retrain and "undecided: not enough labels" in waits.reason


def test_nothing_is_probed_where_nothing_is_asked_for() -> None:
    spec = monitor()
    assert not wants_probe(spec, decide(spec, DAY0, CHAMPION, QUIET, []))
    asked = night(spec, DAY0, WORSE, [], HELPS)
    assert not wants_probe(spec, decide(spec, day(1), CHAMPION, WORSE, [asked]))
    off = MonitorSpec.model_validate({"retrain": {"probe": None}})
    plain = decide(off, DAY0, CHAMPION, WORSE, [])
    assert plain.retrain and not wants_probe(off, plain)


def test_a_person_need_not_convince_a_probe_but_keeps_to_the_budget() -> None:
    wish = Evidence(person="ann", wish="new planes since Monday")
    spec = monitor()
    first = decide(spec, DAY0, CHAMPION, wish, [])
    assert first.retrain and not wants_probe(spec, first)
    assert first.reason == "person: ann: new planes since Monday"
    useless = night(spec, DAY0, WORSE, [], USELESS)
    assert decide(spec, day(1), CHAMPION, wish, [useless]).retrain  # it rests for events alone
    assert "cool-down" in decide(spec, day(1), CHAMPION, wish, [first]).reason


def test_an_estimate_starts_nothing_that_labels_do_not_confirm() -> None:
    spec = monitor()
    expected = Evidence(text="no labels", expected=0.6, expected_low=0.55, expected_high=0.65)
    first = decide(spec, DAY0, CHAMPION, expected, [])
    assert first.causes == ["estimate"] and not first.retrain and wants_probe(spec, first)
    assert not night(spec, DAY0, expected, [], UNDECIDED).retrain
    assert night(spec, DAY0, expected, [], HELPS).retrain
    # With labels there is nothing to estimate.
    labelled = replace(QUIET, expected=0.6, expected_low=0.55, expected_high=0.65)
    assert decide(spec, DAY0, CHAMPION, labelled, []).causes == []


def test_an_alarm_during_the_cool_down_is_kept_until_something_is_done() -> None:
    spec = monitor()
    asked = night(spec, DAY0, WORSE, [], HELPS)
    alarm = Evidence(found=("scores (prediction)",), alarms=("scores (prediction)",))
    blocked = decide(spec, day(2), CHAMPION, alarm, [asked])
    assert not blocked.retrain and "cool-down" in blocked.reason
    history = [asked, blocked]
    kept = night(spec, day(7), QUIET, history, HELPS)
    assert kept.retrain and kept.reason == "drift: findings scores (prediction)"
    assert decide(spec, day(14), CHAMPION, QUIET, [*history, kept]).causes == []
    # A champion that knows the data of the alarm has answered it.
    renewed = Champion(version=4, cutoff=day(3).end, gate_value=0.5)
    assert decide(spec, day(7), renewed, QUIET, history).causes == []


@pytest.mark.parametrize(
    ("low", "high", "sampled", "outcome"),
    [
        (0.004, 0.010, False, "helps"),
        (0.004, 0.010, True, "helps"),
        (-0.004, 0.010, False, "undecided"),
        (-0.010, 0.001, False, "useless"),
        (0.0005, 0.0015, False, "useless"),  # better, and not worth a training
        (-0.010, 0.001, True, "undecided"),  # all rows might have taught more
    ],
)
def test_outcomes_of_a_probe(low: float, high: float, sampled: bool, outcome: str) -> None:
    assert judge_probe(low, high, margin=0.002, sampled=sampled) == outcome
