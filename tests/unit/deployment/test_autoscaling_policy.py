"""What the autoscaling policy decides, case by case."""

import itertools
from datetime import timedelta

import pytest
from autoscaling_world import CPU, LATENCY, REQUESTS, START, World, autoscaling, changes, measured

from ferryman.deployment.autoscaling.decision import Figures, Memory, ReplicaFigures
from ferryman.deployment.autoscaling.policy import Moment, decide


def decided(spec, current, figures, memory=None, at=START):
    return decide(spec, memory or Memory(), Moment("main", at, current, figures))[0]


def shares(*values: float | None, of: str = "cpu", window: float = 10.0) -> Figures:
    named = {str(number): ReplicaFigures(**{of: value}) for number, value in enumerate(values)}
    return Figures(window=window, replicas=named)


# From the text of Kubernetes' documentation and the tests of its replica calculator.
@pytest.mark.parametrize(
    ("values", "current", "wanted"),
    [
        ((0.3, 0.5, 0.7), 3, 5),  # 1.5 / 0.3
        ((0.3, 0.3, 0.3), 3, 3),
        ((0.32, 0.32, 0.32), 3, 3),  # within the tolerance of a tenth
        ((0.34, 0.34, 0.34), 3, 4),
        ((0.6,), 1, 2),
        ((0.9, 0.9), 2, 6),
        ((0.6, 0.6, 0.6), 3, 6),
        ((0.5, 0.7), 3, 4),  # one tells nothing: idle on the way up, 1.2 / 0.3
        ((0.35,), 2, 2),  # ... and that turns the answer round: nothing changes
    ],
)
def test_cpu_asks_for_as_many_as_kubernetes_would(values, current, wanted):
    spec = autoscaling({"kind": "cpu", "target": 0.3})
    assert decided(spec, current, shares(*values)).wanted == wanted


def test_requests_ask_for_as_many_as_share_the_load():
    spec = autoscaling(REQUESTS)
    found = decided(spec, 2, shares(130.0, 125.0, of="requests"))
    assert (found.wanted, found.rule) == (5, "requests")
    assert "127.5 requests/s a replica, target 60" in found.reason


def test_one_step_doubles_or_adds_four():
    spec = autoscaling(REQUESTS, max=100)
    assert decided(spec, 1, shares(5000.0, of="requests")).wanted == 5
    assert decided(spec, 10, shares(*[5000.0] * 10, of="requests")).wanted == 20


def test_the_rule_that_asks_for_most_wins():
    spec = autoscaling(CPU, REQUESTS)
    both = Figures(window=10, replicas={"a": ReplicaFigures(cpu=0.1, requests=200)})
    found = decided(spec, 1, both)
    assert (found.wanted, found.rule) == (4, "requests")


def test_fewer_only_when_fewer_sufficed_all_the_time():
    world = World(autoscaling(REQUESTS), replicas=4)
    world.under(230, 10)
    quiet = world.under(50, 12)
    downs = [number for number, one in enumerate(quiet) if one.change == "down"]
    assert downs[0] == 6  # a minute after the last reading that asked for four
    assert [quiet[number].wanted for number in downs] == [2, 1]  # by half at most


def test_one_busy_reading_begins_the_wait_anew():
    world = World(autoscaling(REQUESTS), replicas=4)
    world.under(230, 3)
    world.under(50, 5)
    world.under(230, 1)
    assert changes(world.under(50, 5)) == 0
    assert changes(world.under(50, 2)) == 1


def test_a_first_reading_never_takes_replicas_away():
    assert decided(autoscaling(REQUESTS), 5, shares(1.0, of="requests")).wanted == 5


def test_a_gap_in_the_readings_begins_the_wait_anew():
    world = World(autoscaling(REQUESTS), replicas=4)
    world.under(230, 10)
    world.now += timedelta(hours=1)
    assert changes(world.under(10, 6)) == 0
    assert changes(world.under(10, 2)) == 1


@pytest.mark.parametrize("current", [0, 1, 9, 50])
def test_a_number_outside_of_the_limits_is_brought_back(current):
    spec = autoscaling(CPU, min=2, max=5)
    found = decided(spec, current, None)
    assert (found.wanted, found.rule) == (min(max(current, 2), 5), "limits")


def test_without_figures_nothing_changes_and_the_reason_is_said():
    found, _ = decide(autoscaling(CPU), Memory(), Moment("main", START, 3, None, "it is away"))
    assert (found.change, found.rule, found.reason) == ("hold", "none", "no figures: it is away")


def test_stale_figures_are_none():
    old = shares(5.0).model_copy(update={"age": 11.0})
    found = decided(autoscaling(CPU), 1, old)
    assert (found.change, found.rule) == ("hold", "none")
    assert "11 s old" in found.reason


def test_time_without_figures_is_no_time_in_which_fewer_sufficed():
    world = World(autoscaling(REQUESTS), replicas=4)
    world.under(230, 2)
    world.under(10, 4)
    world.live(3, lambda _replicas: None)
    assert changes(world.under(10, 5)) == 0
    assert changes(world.under(10, 2)) == 1


def test_a_missing_rule_holds_back_the_way_down_not_the_way_up():
    spec = autoscaling(CPU, REQUESTS)
    world = World(spec, replicas=2)
    idle = world.live(20, lambda count: shares(*[0.01] * count))
    assert changes(idle) == 0
    assert "not fewer: no figures for the rule requests" in idle[-1].reason
    assert decided(spec, 2, shares(1.0, 1.0)).wanted == 3


def test_latency_above_its_target_twice_brings_more_in_proportion():
    world = World(autoscaling(LATENCY), replicas=4)
    slow = measured(300, 4).model_copy(update={"p95_ms": 90.0})
    first, second = world.live(2, lambda _replicas: slow)
    assert first.change == "hold" and "second reading" in first.reason
    assert (second.wanted, second.rule) == (6, "latency")
    far = measured(300, 4).model_copy(update={"p95_ms": 5000.0})
    assert World(autoscaling(LATENCY), 4).live(2, lambda _replicas: far)[1].wanted == 8


def test_a_change_is_measured_before_the_next_one():
    world = World(autoscaling(LATENCY), replicas=1)
    slow = measured(300, 4).model_copy(update={"p95_ms": 5000.0, "window": 30.0})
    wanted = [one.wanted for one in world.live(9, lambda _replicas: slow)]
    assert wanted == [1, 2, 2, 2, 4, 4, 4, 8, 8]
    assert "not measured yet" in world.decisions[2].reason


def test_latency_of_a_few_requests_brings_none():
    world = World(autoscaling(LATENCY))
    few = Figures(window=10, p95_ms=900, replicas={"a": ReplicaFigures(requests=1.0)})
    assert changes(world.live(10, lambda _replicas: few)) == 0
    assert "too few requests" in world.decisions[-1].reason


def test_traffic_without_a_latency_changes_nothing():
    world = World(autoscaling(LATENCY), replicas=3)
    blind = Figures(window=10, replicas={"a": ReplicaFigures(requests=50.0)})
    assert changes(world.live(30, lambda _replicas: blind)) == 0


@pytest.mark.parametrize("rule", [CPU, REQUESTS, LATENCY], ids=lambda rule: str(rule["kind"]))
def test_without_traffic_replicas_go_slowly_to_the_least(rule):
    world = World(autoscaling(rule, min=2), replicas=8)
    decisions = world.under(0, 100)
    assert changes(decisions[:6]) == 0
    assert world.replicas == 2
    assert all(2 * one.wanted >= one.current for one in decisions)


def test_a_number_that_failed_is_left_alone_for_a_growing_time():
    # Three are too slow (p95 90 ms), four far from slow (15 ms): the worst case of a hysteresis.
    def see(replicas):
        p95 = 90.0 if replicas <= 3 else 15.0
        return measured(250, replicas).model_copy(update={"p95_ms": p95})

    world = World(autoscaling(LATENCY, max=4), replicas=4)
    six_hours = world.live(2160, see)
    downs = [one for one in six_hours if one.change == "down"]
    ups = [one for one in six_hours if one.change == "up"]
    assert 1 <= len(downs) == len(ups) <= 7  # a retry after 4, 8, 16, ... minutes
    pauses = [later.at - one.at for one, later in itertools.pairwise(downs)]
    assert all(later > 1.5 * pause for pause, later in itertools.pairwise(pauses))
    assert any("3 did not suffice lately" in one.reason for one in six_hours)


def test_a_number_that_failed_is_tried_again_under_a_lighter_load():
    world = World(autoscaling(LATENCY), replicas=3)

    def see(load):
        def measure(replicas):
            p95 = 90.0 if load / replicas > 100 else 15.0
            return measured(load, replicas).model_copy(update={"p95_ms": p95})

        return measure

    world.live(40, see(250))
    assert world.replicas == 3 and [one.count for one in world.memory.too_few] == [2]
    world.live(5, see(150))
    assert world.replicas == 2


def test_a_number_set_by_hand_is_given_its_time():
    world = World(autoscaling(REQUESTS), replicas=1)
    world.under(30, 20)
    world.replicas = 6
    assert changes(world.under(30, 6)) == 0
    assert changes(world.under(30, 2)) >= 1


def test_a_clock_that_was_ahead_holds_nothing_up_for_ever():
    world = World(autoscaling(LATENCY), replicas=3)
    world.now += timedelta(days=400)
    world.under(250, 40)
    world.now = START
    assert changes(world.under(0, 6)) == 0
    world.under(0, 30)
    assert world.replicas == 1


def test_memory_stays_small():
    world = World(autoscaling(REQUESTS, LATENCY), replicas=1)
    for load in (500, 0, 900, 20, 430, 60, 700, 5) * 5:
        world.under(load, 25)
    assert len(world.memory.recommended) <= 11 and len(world.memory.too_few) <= 10
