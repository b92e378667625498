"""A year of one model in memory: fits, comparisons as gate and probe make them, evidence.

What a replay does besides (servers, logs, packaging, the ledger) changes no figure and is left out,
and so are the gate's thresholds and behavioural tests.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ferryman.data.versions.dataset import DatasetStore, event_windows
from ferryman.evaluation.intervals import Difference, bootstrap, paired_difference
from ferryman.evaluation.measures import Measures, make_measures
from ferryman.monitoring.probe import ProbeFinding, judge_probe
from ferryman.monitoring.quality import measure
from ferryman.monitoring.retraining import Evidence
from ferryman.replay.plan import ReplayPlan
from ferryman.runtime.data_store import open_own_data_store
from ferryman.runtime.timings import cpu_seconds
from ferryman.spec.model import ModelSpec
from ferryman.spec.monitoring import ProbeSpec
from ferryman.spec.windows import DAY, Window
from ferryman.training.labels import encode_labels
from ferryman.training.trainers import make_trainer

Floats = npt.NDArray[np.float64]
_RESAMPLES = 500


@dataclass(frozen=True)
class Comparison:
    """A fit at a cut-off against a champion, on the rows that judge both, and its CPU seconds."""

    difference: Difference
    value: float
    train_rows: int
    cpu_seconds: float


class SimulatedYear:
    """All labelled rows of the plan's days and their past; every fit is done once."""

    def __init__(self, plan: ReplayPlan) -> None:
        self.plan, self.spec = plan, plan.model.spec
        self.measures: Measures = make_measures(self.spec.train.task, self.spec.train.classes)
        self._models: dict[datetime, tuple[Any, int, float]] = {}
        self._compared: dict[tuple[datetime, datetime], Comparison] = {}

    @cached_property
    def frame(self) -> Any:
        """The rows, ordered by event time."""
        history = self.plan.history
        start = history.start if history else self.plan.start
        known = self.spec.data.label.known_after
        span = self.plan.last + DAY - known - start
        train = self.spec.train.model_copy(update={"holdout": span})
        whole: ModelSpec = self.spec.model_copy(update={"train": train})
        datasets = DatasetStore(open_own_data_store(self.plan.shared_settings))
        version = datasets.build(whole, self.plan.last + DAY, "eval")
        return datasets.load(version.id, self.spec.name)

    @cached_property
    def _moments(self) -> npt.NDArray[np.datetime64]:
        moments: npt.NDArray[np.datetime64] = (
            self.frame["event_time"].dt.tz_convert(None).to_numpy().astype("datetime64[us]")
        )
        return moments

    @cached_property
    def labels(self) -> npt.NDArray[Any]:
        """Of every row, as measures take them."""
        return encode_labels(self.frame["label"], self.spec.train)

    def rows(self, window: Window) -> slice:
        """The rows of a window's events."""
        ends = [np.datetime64(end.replace(tzinfo=None)) for end in (window.start, window.end)]
        first, last = np.searchsorted(self._moments, ends)
        return slice(int(first), int(last))

    def answers(self, cutoff: datetime, rows: slice) -> Floats:
        """The answers of the model that is fitted at a cut-off."""
        return np.asarray(self._fit(cutoff)[0].predict(self.frame.iloc[rows]))

    def _fit(self, cutoff: datetime) -> tuple[Any, int, float]:
        """The model, the rows that it learned from, and what the fit cost."""
        if cutoff not in self._models:
            learned = self.frame.iloc[self.rows(event_windows(self.spec, cutoff)[0])]
            begun = cpu_seconds()
            fitted = make_trainer(self.spec, cores=1).fit(
                learned.reset_index(drop=True), self.plan.model
            )
            self._models[cutoff] = fitted, len(learned), cpu_seconds() - begun
        return self._models[cutoff]

    def compare(self, cutoff: datetime, champion: datetime) -> Comparison:
        """The model of a cut-off against the one of an earlier cut-off, as the gate compares."""
        if (cutoff, champion) not in self._compared:
            rows = self.rows(event_windows(self.spec, cutoff)[1])
            begun = cpu_seconds()
            new, old = self.answers(cutoff, rows), self.answers(champion, rows)
            metric = self.spec.gates.champion.metric
            found = paired_difference(
                self.measures,
                self.labels[rows],
                new,
                old,
                metric,
                confidence=self.spec.gates.champion.confidence,
                resamples=_RESAMPLES,
                seed=self.spec.train.seed,
            )
            value = self.measures.score(self.labels[rows], new)[metric]
            if found is None or value is None:
                raise ValueError(f"{metric} cannot be had at {cutoff}")
            _, train_rows, fit = self._fit(cutoff)
            cost = cpu_seconds() - begun + fit
            self._compared[cutoff, champion] = Comparison(found, value, train_rows, cost)
        return self._compared[cutoff, champion]

    def probe(self, spec: ProbeSpec, cutoff: datetime, champion: datetime) -> ProbeFinding:
        """What the step's probe finds."""
        found = self.compare(cutoff, champion)
        difference = found.difference
        return ProbeFinding(
            outcome=judge_probe(difference.low, difference.high, margin=spec.margin, sampled=False),
            text=f"better by {difference.estimate:+.4f}",
            metric=difference.metric,
            estimate=difference.estimate,
            low=difference.low,
            high=difference.high,
            rows=difference.rows,
            train_rows=found.train_rows,
            known_rows=found.train_rows,
            cpu_seconds=found.cpu_seconds,
        )

    def evidence(
        self, end: datetime, scores: Floats, own: npt.NDArray[np.bool_], drifted: bool
    ) -> Evidence:
        """What monitoring knows at a day's end; `own` marks the rows that the champion answered."""
        quality = self.spec.monitor.quality
        known = end - self.spec.data.label.known_after
        rows = self.rows(Window(start=known - quality.window, end=known))
        kept = np.flatnonzero(own[rows]) + rows.start
        table = pa.table(
            {
                "event_time": self._moments[kept],
                "label": self.labels[kept].astype(bool),
                "score": scores[kept],
            }
        )
        found = measure(table, quality, self.measures.score, self._interval)
        calibration = found.calibration
        return Evidence(
            text=found.text,
            value=found.value,
            low=found.low,
            high=found.high,
            shift=calibration.difference if calibration else None,
            shift_low=calibration.low if calibration else None,
            shift_high=calibration.high if calibration else None,
            drifted=("every night",) if drifted else (),
        )

    def _interval(self, labels: Any, scores: Floats, metric: str) -> tuple[float, float] | None:
        found = bootstrap(
            self.measures,
            labels,
            scores,
            metrics=[metric],
            resamples=_RESAMPLES // 2,
            seed=self.spec.train.seed,
        )[metric]
        return (found.low, found.high) if found else None
