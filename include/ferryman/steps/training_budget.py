"""The weekly budget of a model's trainings: one that would exceed it does not begin."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from ferryman.errors import PolicyRefused
from ferryman.ledger.costs import CostTable, StepCost
from ferryman.steps.contract import StepContext

_TRAINING = "training"
_FIT = "train"
_WEEK = timedelta(days=7)
_HOUR = 3600


def refuse_over_budget(context: StepContext) -> None:
    """Raise PolicyRefused (exit 9) where this training would exceed runtime.weekly_budget.

    It is expected to cost what the newest finished one did; what it has cost itself, in a search or
    a try before, is no reason to leave it unfinished. Raises DependencyUnavailable (exit 6) where
    the ledger cannot be asked.
    """
    budget = context.spec.runtime.weekly_budget
    if budget is None:
        return
    costs = [
        cost
        for cost in CostTable(context.settings.ledger_url).read(context.model.name)
        if cost.pipeline == _TRAINING and cost.run_id != context.request.run_id
    ]
    since = datetime.now(UTC) - _WEEK
    spent = sum(cost.cpu_seconds for cost in costs if cost.started >= since) / _HOUR
    expected = expected_seconds(costs) / _HOUR
    if spent + expected > budget.cpu_hours:
        raise PolicyRefused(
            f"the trainings of {context.model.name} have used {spent:.3g} CPU hours in the last "
            f"seven days, and this one would take about {expected:.3g}: "
            f"runtime.weekly_budget allows {budget.cpu_hours:g}",
            remedy="Wait until older trainings are a week past, or raise the budget; "
            f"`ferryman costs --model {context.model.name}` shows what was spent.",
        )


def expected_seconds(costs: Sequence[StepCost]) -> float:
    """CPU seconds of the newest run that was trained to its end; 0 where there is none yet."""
    fits = [cost for cost in costs if cost.step == _FIT and cost.outcome == "done"]
    if not fits:
        return 0.0
    return sum(cost.cpu_seconds for cost in costs if cost.run_id == fits[-1].run_id)
