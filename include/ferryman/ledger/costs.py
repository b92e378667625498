"""What steps cost: a side table of the ledger, only ever added to, and no part of its chain."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, insert, select

from ferryman.errors import SpecError
from ferryman.ledger import tables
from ferryman.ledger.engine import open_engine, transaction

DONE = "done"


@dataclass(frozen=True)
class StepCost:
    """One try of a step: when it began (aware), seconds by the clock and of all cores, bytes.

    `outcome` is "done", or how it failed; `version` the model version that its run registered, as
    far as the step knew it; `peak_memory` the most that it held at once, in bytes.
    """

    model: str
    run_id: str
    pipeline: str
    step: str
    outcome: str
    started: datetime
    seconds: float
    cpu_seconds: float
    peak_memory: int
    version: int | None = None


class CostTable:
    """The costs of all models in the ledger at a URL.

    Every method raises DependencyUnavailable (exit 6) when the database is away or full.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)

    def add(self, cost: StepCost) -> None:
        """Write one row; it is never changed."""
        values = {
            "model": cost.model,
            "run_id": cost.run_id[:500],
            "pipeline": cost.pipeline[:63],
            "step": cost.step[:63],
            "version": cost.version,
            "outcome": cost.outcome[:200],
            "started": _text(cost.started),
            "seconds": cost.seconds,
            "cpu_seconds": cost.cpu_seconds,
            "peak_memory": cost.peak_memory,
        }
        with transaction(self._engine, write=True) as connection:
            connection.execute(insert(tables.costs).values(values))

    def read(self, model: str, since: datetime | None = None) -> list[StepCost]:
        """What a model's steps cost that began at or after a moment (aware), oldest first."""
        query = select(tables.costs).where(tables.costs.c.model == model)
        if since is not None:
            query = query.where(tables.costs.c.started >= _text(since))
        with transaction(self._engine) as connection:
            rows = connection.execute(query.order_by(tables.costs.c.started, tables.costs.c.id))
            return [_cost(row) for row in rows]


def versions_of_runs(costs: Sequence[StepCost]) -> dict[str, int]:
    """The version that each run registered, by run id, as far as one of its steps knew it."""
    return {cost.run_id: cost.version for cost in costs if cost.version is not None}


def summed_costs(costs: Sequence[StepCost], by: str) -> dict[str, list[StepCost]]:
    """The costs of each step, run or version, as `by` says, in the order of their beginning.

    Of a version: all of the run that registered it, and what was done for its release.
    """
    versions, found = versions_of_runs(costs), dict[str, list[StepCost]]()
    for cost in costs:
        if by == "version":
            version = cost.version or versions.get(cost.run_id)
            name = "no version" if version is None else str(version)
        else:
            name = cost.run_id if by == "run" else f"{cost.pipeline}/{cost.step}"
        found.setdefault(name, []).append(cost)
    return found


def _text(moment: datetime) -> str:
    """One width, in UTC, so that texts are in the order of the moments."""
    if moment.tzinfo is None:
        raise SpecError(f"{moment} has no time zone", remedy="Give an aware moment.")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _cost(row: Row[Any]) -> StepCost:
    values = {name: value for name, value in row._mapping.items() if name != "id"}
    return StepCost(**{**values, "started": datetime.fromisoformat(values["started"])})
