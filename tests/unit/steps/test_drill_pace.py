"""How many requests a drill sends itself: what users' requests lack of enough for the bad model."""

import pytest

from ferryman.steps.drill_requests import MOST, Pace

USUAL = Pace(needed=200, weight=0.05, seconds=150.0)


@pytest.mark.parametrize(
    ("passed", "met", "own", "pace"),
    [
        (10.0, 0, 0, 200 / 140 / 0.05),  # nobody asks, or nobody that the share takes
        (10.0, 5, 0, (195 / 140 - 0.5) / 0.05),  # some do
        (10.0, 100, 0, 0.0),  # enough do
        (75.0, 100, 90, (200 / 150 - 10 / 75) / 0.05),  # as planned: what the drill sent stands out
        (200.0, 210, 200, (200 / 150 - 10 / 200) / 0.05),  # it goes on until something is found
        (150.0, 20, 20, MOST),  # it is late
        (0.0, 0, 0, 200 / 150 / 0.05),
    ],
)
def test_a_drill_sends_what_lacks(passed: float, met: int, own: int, pace: float) -> None:
    assert USUAL.lacking(passed, met, own) == pytest.approx(pace)


def test_too_few_are_told_with_what_to_declare() -> None:
    assert USUAL.shortfall(200) == ""
    assert "met 12 of the 200 requests" in USUAL.shortfall(12)
