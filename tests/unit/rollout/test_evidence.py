"""Findings together make a verdict, and have a form that the ledger keeps."""

import json

import pytest

from ferryman.rollout.evidence import Evidence, Finding, Outcome, together
from ferryman.rollout.traffic_evidence import judge_traffic
from ferryman.runtime.traffic import SECONDS_BOUNDS, VariantFigures
from ferryman.spec.rollout import LimitsSpec


def one(outcome: Outcome) -> Finding:
    return Finding("errors", outcome, f"it {outcome}")


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ([], "undecided"),
        (["passed"], "passed"),
        (["passed", "undecided"], "undecided"),
        (["passed", "undecided", "failed"], "failed"),
    ],
)
def test_one_failure_fails_and_all_must_pass(outcomes: list[Outcome], verdict: Outcome) -> None:
    evidence = Evidence(tuple(one(outcome) for outcome in outcomes))
    assert evidence.outcome == verdict
    parts = [Evidence((one(outcome),)) for outcome in outcomes]
    assert together(*parts) == evidence
    if outcomes:
        assert evidence.text == f"it {verdict}"


@pytest.mark.parametrize("count", [0, 1, 60, 300])
@pytest.mark.parametrize("place", [0, 20, len(SECONDS_BOUNDS)])
@pytest.mark.parametrize("rate", [0, 1])
def test_whatever_was_counted_is_kept_as_json(count: int, place: int, rate: int) -> None:
    seconds = [0] * (len(SECONDS_BOUNDS) + 1)
    seconds[place] = count
    figures = VariantFigures(
        requests=count,
        errors=rate * count,
        seconds=seconds,
        scored=count,
        scores=[0.1 * n for n in range(count)],
    )
    others = VariantFigures(requests=300, seconds=[300, *seconds[1:-1], 0])
    for first, second in ((figures, figures), (figures, others), (others, figures)):
        for task in ("binary", "multiclass", "regression"):
            evidence = judge_traffic(first, second, LimitsSpec(), task=task)
            kept = json.loads(json.dumps(evidence.as_json(), allow_nan=False))
            assert kept["outcome"] == evidence.outcome
