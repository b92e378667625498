"""`python -m benchmarks.retraining [--model flights --from 2013-01-29 --to 2013-12-31]`.

Policies of retraining on a recorded year, with the domain's functions alone: minutes, where
`ferryman replay` lives the year through servers and logs. For choosing a policy; the replay judges
it. Days are ingested once into FERRYMAN_HOME, where a replay of the same days finds them.

never, nightly   as in a replay
decided ...      monitor.retrain as declared, by labels and age; `drift` assumes drifted inputs on
                 every night, the most that drift can ask for; `no probe`, `retrain`, `wait`: what
                 is done where a probe would be undecided
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from benchmarks.retraining.simulated_year import SimulatedYear
from ferryman.catalog import find_model
from ferryman.monitoring.retraining import Champion, Decision, decide, wants_probe
from ferryman.replay.plan import make_plan
from ferryman.replay.tasks import are_ingested, ingest_days
from ferryman.settings import load_settings
from ferryman.spec.monitoring import MonitorSpec
from ferryman.spec.windows import Window

HEADINGS = ("policy", "trainings", "releases", "AUC", "log loss", "probes", "spared", "probe CPU s")


@dataclass
class Life:
    """What became of one policy."""

    name: str
    monitor: MonitorSpec | None = None
    nightly: bool = False
    drift: bool = False
    trainings: int = 1
    releases: int = 1
    history: list[Decision] = field(default_factory=list)
    figures: dict[str, float | None] = field(default_factory=dict)

    def probes(self) -> list[dict[str, object]]:
        """All that were made."""
        return [decision.probe for decision in self.history if decision.probe]

    def cells(self) -> tuple[str, ...]:
        """The line of the table, see HEADINGS."""
        probes = self.probes()
        spared = sum(1 for one in self.history if one.probe and not one.retrain)
        return (
            self.name,
            str(self.trainings),
            str(self.releases),
            f"{self.figures['roc_auc']:.4f}",
            f"{self.figures['log_loss']:.4f}",
            str(len(probes)),
            str(spared),
            f"{sum(float(str(one['cpu_seconds'])) for one in probes):.0f}",
        )


def live(year: SimulatedYear, life: Life) -> Life:
    """Live every day of the plan: answer, and at its end look back, decide, train, and judge."""
    scores = np.full(len(year.frame), np.nan)
    versions = np.zeros(len(year.frame), dtype=np.int64)
    cutoff = year.plan.start
    value = year.compare(cutoff, cutoff).value
    for day in year.plan.days:
        rows = year.rows(day)
        if rows.stop > rows.start:
            scores[rows] = year.answers(cutoff, rows)
            versions[rows] = life.releases
        champion = Champion(life.releases, cutoff, value)
        if not _trains(year, life, day, champion, scores=scores, versions=versions):
            continue
        life.trainings += 1
        found = year.compare(day.end, cutoff)
        if found.difference.low > year.spec.gates.champion.margin:
            cutoff, value = day.end, found.value
            life.releases += 1
    told = np.isfinite(scores)
    life.figures = year.measures.score(year.labels[told], scores[told])
    return life


def _trains(  # noqa: PLR0913 - the state of a life
    year: SimulatedYear,
    life: Life,
    day: Window,
    champion: Champion,
    *,
    scores: "np.typing.NDArray[np.float64]",
    versions: "np.typing.NDArray[np.int64]",
) -> bool:
    spec = life.monitor
    if spec is None:
        return life.nightly
    evidence = year.evidence(day.end, scores, versions == champion.version, life.drift)
    decision = decide(spec, day, champion, evidence, life.history)
    if spec.retrain.probe is not None and wants_probe(spec, decision):
        probe = year.probe(spec.retrain.probe, day.end, champion.cutoff)
        decision = decide(spec, day, champion, evidence, life.history, probe=probe)
    life.history.append(decision)
    return decision.retrain


def policies(declared: MonitorSpec) -> Iterator[Life]:
    """The lives that are compared."""
    yield Life("never")
    for drift in (False, True):
        for name in ("no probe", "retrain", "wait"):
            probe = None if name == "no probe" else {"undecided": name}
            known = declared.retrain.probe.model_dump() if declared.retrain.probe else {}
            retrain = declared.retrain.model_dump() | {"probe": probe and {**known, **probe}}
            monitor = MonitorSpec.model_validate(declared.model_dump() | {"retrain": retrain})
            yield Life(f"decided, {'drift, ' if drift else ''}{name}", monitor, drift=drift)
    yield Life("nightly", nightly=True)


def main() -> None:
    """Simulate and print the table, a line as soon as it is known."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retraining")
    parser.add_argument("--model", default="flights")
    parser.add_argument("--from", dest="start", default="2013-01-29")
    parser.add_argument("--to", dest="last", default="2013-12-31")
    asked = parser.parse_args()
    start, last = (
        datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (asked.start, asked.last)
    )
    settings = load_settings()
    plan = make_plan(find_model(settings.zoo, asked.model), settings, start, last)
    for stretch in plan.stretches:
        if not are_ingested(plan, *stretch):
            ingest_days(plan, *stretch, lambda: True)
    year = SimulatedYear(plan)
    widths = (24, 9, 8, 7, 8, 6, 6, 11)
    for life in (None, *policies(plan.model.spec.monitor)):
        cells = HEADINGS if life is None else live(year, life).cells()
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
