"""What a policy's trainings and probes cost, by the timings that every step leaves."""

from dataclasses import dataclass

from ferryman.monitoring.decisions import Decisions
from ferryman.runtime.timings import run_timings
from ferryman.settings import Settings


@dataclass(frozen=True)
class Costs:
    """CPU seconds of all trainings with their releases, and of all probes.

    probes: how many were made; spared: those after which nothing was trained.
    """

    training_cpu_seconds: float
    probe_cpu_seconds: float
    probes: int
    spared: int


def policy_costs(settings: Settings, model: str, pipeline: str) -> Costs:
    """The costs of a policy's life by its runs of a pipeline and its decisions."""
    runs = settings.runs_root / model / pipeline
    timings = [run_timings(run) for run in sorted(runs.iterdir())] if runs.is_dir() else []
    probed = [
        (decision, decision.probe)
        for decision in Decisions(settings.monitoring_root).read(model)
        if decision.probe is not None
    ]
    return Costs(
        training_cpu_seconds=round(
            sum((step.cpu_seconds for run in timings for step in run.values()), 0.0), 1
        ),
        probe_cpu_seconds=round(sum((float(one["cpu_seconds"]) for _, one in probed), 0.0), 1),
        probes=len(probed),
        spared=sum(1 for decision, _ in probed if not decision.retrain),
    )
