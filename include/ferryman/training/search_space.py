"""The declared space of a search: what Optuna draws from, and the points of a grid."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from ferryman.spec.training import DimensionSpec, ParamValue

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Space = Mapping[str, DimensionSpec]


def distributions(space: Space) -> "dict[str, BaseDistribution]":
    """What Optuna draws each parameter from."""
    return {name: _distribution(dimension) for name, dimension in space.items()}


def grid_size(space: Space) -> int:
    """The number of points of a grid."""
    return math.prod(len(_grid_values(dimension)) for dimension in space.values())


def grid_point(space: Space, place: int) -> dict[str, ParamValue]:
    """The point at a place from 0 to the grid's size; the last parameter changes first."""
    point: dict[str, ParamValue] = {}
    for name in reversed(list(space)):
        values = _grid_values(space[name])
        place, index = divmod(place, len(values))
        point[name] = values[index]
    return {name: point[name] for name in space}


def from_unit(dimension: DimensionSpec, share: float) -> ParamValue:
    """The value of a range at a share of it from 0 to 1; a list of choices has none."""
    low, high = bounds(dimension)
    share = min(max(share, 0.0), 1.0)
    if dimension.integer and not dimension.log:
        step = int(dimension.step or 1)
        places = round((high - low) / step) + 1
        return int(low) + step * min(int(share * places), places - 1)
    if dimension.log:
        value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        value = low + share * (high - low)
    if dimension.integer:
        return min(max(round(value), int(low)), int(high))
    steps = _steps(dimension)
    if steps:
        return min(steps, key=lambda step: abs(step - value))
    return min(max(value, low), high)


def bounds(dimension: DimensionSpec) -> tuple[float, float]:
    """The least and the largest value of a range; with a step, the largest that it reaches."""
    if dimension.min is None or dimension.max is None:
        raise ValueError("choices have no bounds")
    steps = _steps(dimension)
    return dimension.min, steps[-1] if steps else dimension.max


def _steps(dimension: DimensionSpec) -> list[float]:
    """The values of a range with a step, as they are written; empty without a step."""
    if dimension.min is None or dimension.max is None or dimension.step is None:
        return []
    # In decimals, as Optuna counts too: 0.1 + 2 * 0.1 is 0.3 there.
    low, high, step = (Decimal(str(n)) for n in (dimension.min, dimension.max, dimension.step))
    return [float(low + place * step) for place in range(int((high - low) / step) + 1)]


def _grid_values(dimension: DimensionSpec) -> list[ParamValue]:
    if dimension.choices is not None:
        return dimension.choices
    low, high = bounds(dimension)
    if dimension.integer:
        return list(range(int(low), int(high) + 1, int(dimension.step or 1)))
    return list(_steps(dimension))


def _distribution(dimension: DimensionSpec) -> "BaseDistribution":
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if dimension.choices is not None:
        return CategoricalDistribution(dimension.choices)
    low, high = bounds(dimension)
    if dimension.integer:
        return IntDistribution(
            int(low), int(high), log=dimension.log, step=int(dimension.step or 1)
        )
    return FloatDistribution(float(low), float(high), log=dimension.log, step=dimension.step)
