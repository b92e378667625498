"""What serving costs a model: the replicas' CPU seconds, shared out by the time of its requests.

A replica has no clock of its own for each model, so this is an approximation: a second of a
replica's CPU belongs to its models as the seconds that their requests took do. What a replica does
without requests (its start, its metrics) is shared out likewise.
"""

from collections.abc import Mapping
from dataclasses import dataclass

_CPU = "process_cpu_seconds_total"
_SECONDS = "ferryman_request_seconds_sum"
_ROWS = "ferryman_predictions_total"
_NOBODY = ("", "unknown")


@dataclass(frozen=True)
class ServingCost:
    """Since the replicas that live were started: CPU seconds, rows answered, share of the whole."""

    model: str
    cpu_seconds: float
    rows: int
    share: float


def serving_costs(page: str) -> dict[str, ServingCost]:
    """The cost of each model by a server's page of metrics; empty before the first request."""
    from prometheus_client.parser import text_string_to_metric_families

    cpu: dict[str, float] = {}
    spent: dict[str, dict[str, float]] = {}
    rows: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            replica, model = sample.labels.get("replica", ""), sample.labels.get("model", "")
            if sample.name == _CPU:
                cpu[replica] = cpu.get(replica, 0.0) + sample.value
            elif model in _NOBODY:
                continue
            elif sample.name == _SECONDS:
                of_replica = spent.setdefault(replica, {})
                of_replica[model] = of_replica.get(model, 0.0) + sample.value
            elif sample.name == _ROWS:
                rows[model] = rows.get(model, 0.0) + sample.value
    shared = _shared(cpu, spent)
    total = sum(shared.values())
    return {
        model: ServingCost(model, seconds, int(rows.get(model, 0)), seconds / total)
        for model, seconds in shared.items()
        if total > 0
    }


def _shared(cpu: Mapping[str, float], spent: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for replica, models in spent.items():
        total = sum(models.values())
        for model, seconds in models.items():
            part = seconds / total * cpu.get(replica, 0.0) if total else 0.0
            found[model] = found.get(model, 0.0) + part
    return found
