"""The next point of a CMA-ES search, from the trials that are there.

Optuna's own CMA-ES sampler keeps its state pickled among the trials. Here nothing is kept: the
state follows from the finished generations, so any worker can make it anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ferryman.spec.training import DimensionSpec, ParamValue
from ferryman.training.search_space import from_unit

_SIGMA = 1 / 6  # of a range, as Optuna begins too


@dataclass(frozen=True)
class EvolvedPoint:
    """A point: the parameters, where it lies in the unit cube, and its generation."""

    params: Mapping[str, ParamValue]
    unit: tuple[float, ...]
    generation: int


@dataclass(frozen=True)
class ScoredPoint:
    """A complete trial: where it lay in the unit cube, and its loss (smaller is better)."""

    number: int
    unit: tuple[float, ...]
    generation: int
    loss: float


def evolve(
    space: Mapping[str, DimensionSpec], scored: Sequence[ScoredPoint], seed: int
) -> EvolvedPoint:
    """Draw the next point; equal trials and an equal seed give an equal point."""
    import numpy as np
    from cmaes import CMA

    size = len(space)
    optimizer = CMA(
        mean=np.full(size, 0.5), sigma=_SIGMA, bounds=np.tile([0.0, 1.0], (size, 1)), seed=seed
    )
    generation = 0
    while not optimizer.should_stop():
        members = [point for point in scored if point.generation == generation]
        members = sorted(members, key=lambda point: point.number)[: optimizer.population_size]
        if len(members) < optimizer.population_size:
            break
        optimizer.tell([(np.array(point.unit), point.loss) for point in members])
        generation += 1
    unit = tuple(float(share) for share in optimizer.ask())
    params = {
        name: from_unit(dimension, share)
        for (name, dimension), share in zip(space.items(), unit, strict=True)
    }
    return EvolvedPoint(params, unit, generation)
