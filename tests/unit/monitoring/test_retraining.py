"""The decision to retrain: reasons, brakes, and the same answer when asked again."""

from datetime import UTC, datetime, timedelta

import pytest

from ferryman.errors import IntegrityBroken
from ferryman.monitoring.decisions import Decisions
from ferryman.monitoring.retraining import Champion, Decision, Evidence, decide
from ferryman.spec.monitoring import MonitorSpec
from ferryman.spec.windows import Window, day_window

SPEC = MonitorSpec.model_validate(
    {
        "quality": {"metric": "log_loss", "tolerance": 0.02},
        "retrain": {"cool_down": "5d", "per_week": 1, "max_age": "28d"},
    }
)
DAY0 = day_window(datetime(2013, 3, 1, tzinfo=UTC))
CHAMPION = Champion(version=3, cutoff=DAY0.start - timedelta(days=10), gate_value=0.50)
WORSE = Evidence(text="log_loss 0.56", value=0.56, low=0.53, high=0.59)


def day(offset: int) -> Window:
    return DAY0.shifted(timedelta(days=offset))


def ask(
    evidence: Evidence,
    *,
    window: Window = DAY0,
    champion: Champion | None = CHAMPION,
    history: list[Decision] | None = None,
    spec: MonitorSpec = SPEC,
) -> Decision:
    return decide(spec, window, champion, evidence, history or [])


@pytest.mark.parametrize(
    ("evidence", "causes"),
    [
        (WORSE, ["quality"]),
        (Evidence(value=0.53, low=0.515, high=0.55), []),  # beyond tolerance, not beyond chance
        (Evidence(value=0.515, low=0.512, high=0.518), []),  # beyond chance, within tolerance
        (Evidence(value=None), []),
        (Evidence(shift=0.06, shift_low=0.03, shift_high=0.09), ["calibration"]),
        (Evidence(shift=-0.06, shift_low=-0.09, shift_high=-0.03), ["calibration"]),
        (Evidence(shift=0.06, shift_low=-0.01, shift_high=0.13), []),
        (Evidence(shift=0.01, shift_low=0.005, shift_high=0.015), []),
        (Evidence(drifted=("temp", "dest")), ["drift"]),
        (
            Evidence(value=0.6, low=0.55, high=0.7, drifted=("temp",)),
            ["quality", "drift"],
        ),
    ],
)
def test_reasons(evidence: Evidence, causes: list[str]) -> None:
    decision = ask(evidence)
    assert decision.causes == causes
    assert decision.retrain is bool(causes)


def test_the_reason_is_a_line_that_a_training_run_takes() -> None:
    all_at_once = Evidence(
        value=0.6,
        low=0.55,
        high=0.7,
        shift=0.06,
        shift_low=0.03,
        shift_high=0.09,
        drifted=tuple(f"column_with_a_long_name_{number}" for number in range(9)),
    )
    decision = ask(all_at_once)
    assert decision.causes == ["quality", "calibration", "drift"]
    assert len(decision.reason) <= 200
    assert decision.reason.startswith("quality: log_loss 0.6000, the gate saw 0.5000")
    assert decision.evidence["drifted"] == list(all_at_once.drifted)


def test_however_much_calls_for_it_the_obstacle_is_told_in_full() -> None:
    many = Evidence(person="olga", wish="w" * 180, drifted=[f"column_{n}" for n in range(9)])
    first = decide(SPEC, DAY0, CHAMPION, many, [])
    assert first.retrain
    again = decide(SPEC, day(1), CHAMPION, many, [first]).reason
    assert again.endswith("..., but cool-down: a retrain was asked for 1 day ago")
    assert again.startswith("person: olga: www")
    assert len(again) == 200


def test_where_more_is_better_a_fall_is_worse() -> None:
    spec = MonitorSpec.model_validate({"quality": {"metric": "roc_auc", "tolerance": 0.02}})
    champion = Champion(version=1, cutoff=CHAMPION.cutoff, gate_value=0.70)
    fell = Evidence(value=0.64, low=0.62, high=0.66)
    rose = Evidence(value=0.76, low=0.74, high=0.78)
    assert ask(fell, champion=champion, spec=spec).causes == ["quality"]
    assert ask(rose, champion=champion, spec=spec).causes == []


def test_age_alone_is_a_reason() -> None:
    old = Champion(version=1, cutoff=DAY0.end - timedelta(days=28), gate_value=None)
    young = Champion(version=1, cutoff=DAY0.end - timedelta(days=27), gate_value=None)
    assert ask(Evidence(), champion=old).causes == ["age"]
    assert not ask(Evidence(), champion=young).retrain


def test_no_champion_and_a_champion_from_the_future_need_nothing() -> None:
    nothing = ask(WORSE, champion=None)
    assert (nothing.retrain, nothing.reason) == (False, "nothing is served yet")
    future = Champion(version=9, cutoff=DAY0.end, gate_value=0.5)
    decision = ask(WORSE, champion=future)
    assert not decision.retrain
    assert "already knows" in decision.reason


def test_cool_down_and_weekly_budget_hold() -> None:
    spec = MonitorSpec.model_validate({"retrain": {"cool_down": "2d", "per_week": 2}})
    history: list[Decision] = []
    asked = []
    for offset in range(15):
        decision = ask(WORSE, window=day(offset), history=history, spec=spec)
        history.append(decision)
        if decision.retrain:
            asked.append(offset)
        else:
            assert "but" in decision.reason
    assert asked == [0, 2, 7, 9, 14]


def test_deciding_again_gives_the_same_whatever_came_later() -> None:
    history = [ask(WORSE)]
    history += [ask(WORSE, window=day(offset), history=history) for offset in range(1, 8)]
    assert [decision.retrain for decision in history] == [True] + [False] * 6 + [True]
    for offset, before in enumerate(history):
        assert ask(WORSE, window=day(offset), history=history) == before


def test_a_restated_window_replaces_its_own_but_keeps_what_it_spent() -> None:
    first = ask(WORSE)
    restated = ask(Evidence(), history=[first])
    assert (restated.retrain, restated.asked) == (False, True)
    blocked = ask(WORSE, window=day(1), history=[restated])
    assert not blocked.retrain
    assert "cool-down" in blocked.reason


def test_decisions_are_kept_one_a_window(tmp_path) -> None:
    store = Decisions(tmp_path)
    assert store.read("m") == []
    store.write("m", day(1), ask(WORSE, window=day(1)))
    store.write("m", day(0), ask(Evidence()))
    store.write("m", day(0), ask(WORSE))
    assert store.read("m") == [ask(WORSE), ask(WORSE, window=day(1))]
    store.file("m", day(0)).write_text('{"retrain": true}')
    with pytest.raises(IntegrityBroken, match="not a decision"):
        store.read("m")
