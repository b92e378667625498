"""What a declared space lets a search draw."""

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from ferryman.spec.training import DimensionSpec
from ferryman.training.search_space import distributions, from_unit, grid_point, grid_size

SPACE = {
    "depth": DimensionSpec(min=2, max=7, integer=True, step=2),
    "rate": DimensionSpec(min=0.1, max=0.35, step=0.1),
    "kind": DimensionSpec(choices=["a", "b"]),
}


def test_a_grid_has_every_combination_once():
    points = [grid_point(SPACE, place) for place in range(grid_size(SPACE))]
    assert len(points) == 3 * 3 * 2
    assert len({tuple(point.items()) for point in points}) == 18
    assert {point["depth"] for point in points} == {2, 4, 6}
    assert {point["rate"] for point in points} == {0.1, 0.2, 0.3}
    assert points[0] == {"depth": 2, "rate": 0.1, "kind": "a"}
    assert points[1] == {"depth": 2, "rate": 0.1, "kind": "b"}


def test_ranges_become_optunas_distributions_that_end_on_a_step():
    made = distributions({**SPACE, "size": DimensionSpec(min=1e-3, max=1, log=True)})
    assert made == {
        "depth": IntDistribution(2, 6, step=2),
        "rate": FloatDistribution(0.1, 0.3, step=0.1),
        "kind": CategoricalDistribution(["a", "b"]),
        "size": FloatDistribution(1e-3, 1, log=True),
    }


@pytest.mark.parametrize(
    ("dimension", "share", "value"),
    [
        (DimensionSpec(min=2, max=4), 0.5, 3.0),
        (DimensionSpec(min=1e-4, max=1, log=True), 0.5, 1e-2),
        (DimensionSpec(min=1, max=3, integer=True), 0.0, 1),
        (DimensionSpec(min=1, max=3, integer=True), 0.34, 2),
        (DimensionSpec(min=1, max=3, integer=True), 1.0, 3),
        (DimensionSpec(min=1, max=100, integer=True, log=True), 0.5, 10),
        (DimensionSpec(min=0, max=1, step=0.25), 0.6, 0.5),
        (DimensionSpec(min=0, max=1), 1.7, 1.0),
    ],
)
def test_a_share_of_a_range_is_a_legal_value(dimension: DimensionSpec, share: float, value: float):
    found = from_unit(dimension, share)
    assert found == pytest.approx(value)
    assert isinstance(found, int) == dimension.integer
