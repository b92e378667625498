"""What a model's costs page shows: CPU by release and by step, read from the ledger alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ferryman.errors import FerrymanError
from ferryman.ledger.costs import CostTable, StepCost, summed_costs
from ferryman.settings import Settings
from ferryman.spec.model import ModelSpec

DAYS = 30
_MOST = 100  # rows of any one table
_MIB = 2**20
_WORDS = 400


@dataclass(frozen=True)
class CostFacts:
    """Sums of the last DAYS days in rows of text; `trouble` says why there are none."""

    total: str = ""
    budget: str = ""
    versions: list[dict[str, str]] = field(default_factory=list)
    steps: list[dict[str, str]] = field(default_factory=list)
    trouble: str = ""


def cost_facts(settings: Settings, spec: ModelSpec) -> CostFacts:
    """The costs of the last DAYS days, the dearest steps and the newest releases first."""
    now = datetime.now(UTC)
    try:
        costs = CostTable(settings.ledger_url).read(spec.name, now - timedelta(days=DAYS))
    except FerrymanError as error:
        return CostFacts(trouble=error.text[:_WORDS])
    if not costs:
        return CostFacts(trouble="No step has run in this time.")
    versions = summed_costs(costs, "version")
    steps = sorted(summed_costs(costs, "step").items(), key=lambda one: -_cpu(one[1]))
    return CostFacts(
        total=_hours(_cpu(costs)),
        budget=_budget(spec, costs, now),
        versions=[_row(name, versions[name]) for name in reversed(list(versions))][:_MOST],
        steps=[_row(name, group) for name, group in steps[:_MOST]],
    )


def _budget(spec: ModelSpec, costs: Sequence[StepCost], now: datetime) -> str:
    """What trainings have used of the week's budget; empty where there is none."""
    budget = spec.runtime.weekly_budget
    if budget is None:
        return ""
    week = now - timedelta(days=7)
    used = [one for one in costs if one.pipeline == "training" and one.started >= week]
    return f"{_hours(_cpu(used))} of {budget.cpu_hours:g} in seven days"


def _row(name: str, group: Sequence[StepCost]) -> dict[str, str]:
    return {
        "name": name,
        "tries": str(len(group)),
        "failed": str(sum(one.outcome != "done" for one in group)),
        "cpu": f"{_cpu(group):.1f}",
        "seconds": f"{sum(one.seconds for one in group):.1f}",
        "memory": f"{max(one.peak_memory for one in group) / _MIB:.0f}",
    }


def _cpu(costs: Sequence[StepCost]) -> float:
    return sum(one.cpu_seconds for one in costs)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.3g} CPU hours"
