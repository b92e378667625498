"""What figures prove: worse is failed, alike is passed, and what is not known is undecided."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.rollout.evidence import Evidence, Finding
from ferryman.rollout.traffic_evidence import judge_shadow, judge_traffic
from ferryman.runtime.traffic import SECONDS_BOUNDS, VariantFigures, seconds_bin
from ferryman.spec.rollout import LimitsSpec

LIMITS = LimitsSpec()
WORSE = {"passed": 0, "undecided": 1, "failed": 2}
counts = st.integers(0, 3000)


def figures(
    requests: int,
    errors: int = 0,
    *,
    milliseconds: float = 5.0,
    scores: np.ndarray | None = None,
    seed: int = 1,
) -> VariantFigures:
    """Figures of so many requests of one row each."""
    random = np.random.default_rng(seed)
    seconds = [0] * (len(SECONDS_BOUNDS) + 1)
    for value in random.lognormal(math.log(milliseconds / 1000), 0.5, requests):
        seconds[seconds_bin(value)] += 1
    if scores is None:
        scores = random.beta(2, 5, requests)
    return VariantFigures(
        requests=requests,
        errors=errors,
        seconds=seconds,
        scored=len(scores),
        scores=[float(score) for score in scores[:2000]],
    )


CHAMPION = figures(5700, seed=2)


def judge(candidate: VariantFigures, champion: VariantFigures = CHAMPION) -> Evidence:
    return judge_traffic(champion, candidate, LIMITS, task="binary")


def finding(evidence: Evidence, rule: str) -> Finding:
    return next(one for one in evidence.findings if one.rule == rule)


def test_a_candidate_that_is_alike_passes_with_all_rules() -> None:
    evidence = judge(figures(300))
    assert evidence.outcome == "passed"
    rules = [one.rule for one in evidence.findings]
    assert rules == ["requests", "errors", "latency", "shift", "constant"]


@pytest.mark.parametrize(
    ("candidate", "rule"),
    [
        (figures(300, 9), "errors"),
        (figures(10, 10), "errors"),
        (figures(100, milliseconds=50), "latency"),
        (figures(100, scores=np.full(100, 0.3)), "constant"),
        (figures(300, scores=np.resize([0.2, 0.3], 300)), "constant"),
        (figures(300, scores=0.45387 + np.linspace(0, 2e-6, 300)), "constant"),
        (figures(400, scores=np.random.default_rng(3).beta(2, 5, 400) + 0.2), "shift"),
        (figures(300, scores=np.append(np.full(299, 0.3), math.nan)), "shift"),
        (figures(300, scores=np.append(np.full(299, 0.3), math.inf)), "shift"),
    ],
)
def test_a_candidate_that_is_worse_fails(candidate: VariantFigures, rule: str) -> None:
    evidence = judge(candidate)
    assert evidence.outcome == "failed"
    assert finding(evidence, rule).outcome == "failed"


def test_too_few_requests_decide_nothing_and_say_how_many() -> None:
    evidence = judge(figures(123))
    assert evidence.outcome == "undecided"
    assert finding(evidence, "requests").text == "123 of 200 requests"


def test_errors_that_the_champion_has_as_well_are_not_the_candidates() -> None:
    evidence = judge(figures(2000, 100), figures(20_000, 1000))
    assert finding(evidence, "errors").outcome != "failed"


def test_what_looks_worse_than_allowed_but_may_be_chance_is_undecided() -> None:
    erring = finding(judge(figures(300, 8), figures(300, 3)), "errors")
    assert erring.effect is not None
    assert erring.effect > LIMITS.errors
    assert erring.outcome == "undecided"
    slow = finding(judge(figures(60, milliseconds=12), figures(60, seed=2)), "latency")
    assert slow.effect is not None
    assert slow.effect > LIMITS.latency
    assert slow.outcome == "undecided"


def test_few_errors_in_a_row_are_no_proof() -> None:
    assert finding(judge(figures(4, 4)), "errors").outcome == "undecided"


@pytest.mark.parametrize("champion", [VariantFigures(), figures(0)])
def test_without_a_champion_nothing_is_decided(champion: VariantFigures) -> None:
    assert judge(figures(1000), champion).outcome == "undecided"


def test_an_idle_candidate_is_undecided() -> None:
    assert judge(VariantFigures()).outcome == "undecided"


@pytest.mark.parametrize(
    "broken",
    [
        VariantFigures(requests=10, errors=11),
        VariantFigures(requests=-1),
        VariantFigures(requests=300, seconds=[300]),
        VariantFigures(requests=1, scored=2000, scores=[0.9] * 2000),
    ],
)
def test_figures_that_cannot_be_are_undecided_on_either_side(broken: VariantFigures) -> None:
    for evidence in (judge(broken), judge(figures(300), broken)):
        assert evidence.outcome == "undecided"
        assert "cannot be right" in evidence.text


def test_a_champion_without_finite_predictions_decides_nothing() -> None:
    champion = figures(1000, scores=np.full(1000, math.nan))
    assert judge(figures(300), champion).outcome == "undecided"


def test_latencies_beyond_the_last_bound_fail_and_are_told_finite() -> None:
    slow = figures(300).model_copy(update={"seconds": [0] * len(SECONDS_BOUNDS) + [300]})
    latency = finding(judge(slow), "latency")
    assert latency.outcome == "failed"
    assert latency.high is None
    assert "over 26 s" in latency.text
    assert finding(judge(figures(300), slow), "latency").outcome == "undecided"


def test_a_champion_that_is_as_constant_is_no_reproach() -> None:
    evidence = judge(
        figures(300, scores=np.full(300, 0.3)), figures(5000, scores=np.full(5000, 0.3))
    )
    assert finding(evidence, "constant").outcome == "passed"
    assert evidence.outcome == "passed"


def test_classes_are_compared_by_their_shares() -> None:
    random = np.random.default_rng(4)
    champion = figures(5000, scores=random.choice(3, 5000, p=[0.5, 0.3, 0.2]).astype(float))
    alike = figures(400, scores=random.choice(3, 400, p=[0.5, 0.3, 0.2]).astype(float))
    other = figures(400, scores=random.choice(3, 400, p=[0.1, 0.2, 0.7]).astype(float))
    assert judge_traffic(champion, alike, LIMITS, task="multiclass").outcome == "passed"
    evidence = judge_traffic(champion, other, LIMITS, task="multiclass")
    assert finding(evidence, "shift").outcome == "failed"
    assert finding(evidence, "shift").effect == pytest.approx(0.5, abs=0.06)


def test_a_shadow_that_lost_copies_is_undecided() -> None:
    evidence = judge_shadow(CHAMPION, figures(880), LIMITS, 880, 120, task="binary")
    assert evidence.outcome == "undecided"
    assert evidence.text == "the shadow lost 12% of the copies"
    assert judge_shadow(CHAMPION, figures(880), LIMITS, 880, 10, task="binary").outcome == "passed"
    assert judge_shadow(CHAMPION, figures(880), LIMITS, 0, 0, task="binary").outcome == "undecided"


def test_a_slow_shadow_does_not_pass_and_does_not_fail() -> None:
    slow = figures(880, milliseconds=50)
    evidence = judge_shadow(CHAMPION, slow, LIMITS, 880, 0, task="binary")
    assert evidence.outcome == "undecided"
    assert "the shadow's own process" in evidence.text


@settings(max_examples=25, deadline=None)
@given(counts, counts, counts, counts, st.integers(1, 50))
def test_more_errors_never_help(n: int, errors: int, base: int, theirs: int, more: int) -> None:
    errors, theirs = min(errors, n), min(theirs, base)
    champion = VariantFigures(requests=base, errors=theirs)
    outcomes = [
        finding(judge(VariantFigures(requests=n, errors=count), champion), "errors")
        for count in (errors, min(errors + more, n))
    ]
    assert WORSE[outcomes[0].outcome] <= WORSE[outcomes[1].outcome]
    if n and base:
        low, effect, high = outcomes[0].low, outcomes[0].effect, outcomes[0].high
        assert low is not None
        assert effect is not None
        assert high is not None
        assert -1 <= low <= effect + 1e-9
        assert effect <= high <= 1 + 1e-9


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 60), st.integers(0, 12))
def test_slower_never_helps(place: int, slower: int) -> None:
    def latency(bin_: int) -> Finding:
        seconds = [0] * (len(SECONDS_BOUNDS) + 1)
        seconds[bin_] = 300
        candidate = figures(300).model_copy(update={"seconds": seconds})
        return finding(judge(candidate), "latency")

    assert WORSE[latency(place).outcome] <= WORSE[latency(place + slower).outcome]


def test_the_order_of_the_sample_does_not_matter() -> None:
    scores = np.round(np.random.default_rng(5).beta(2, 4, 500), 1)
    first = judge(figures(500, scores=scores))
    assert first == judge(figures(500, scores=np.sort(scores)))
    assert first == judge(figures(500, scores=scores[::-1]))


def test_certainty_grows_with_the_requests() -> None:
    found = [finding(judge(figures(n, n // 20)), "errors").low for n in (100, 200, 400, 800)]
    assert all(a is not None and b is not None and a < b for a, b in pairwise(found))
