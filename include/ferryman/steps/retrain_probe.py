"""The probe: fits the declared pipeline on the newest data and compares it with the champion.

It sees exactly what a retrain's gate would: rows split at the same cut-off, the older ones learned
from and the newest labelled ones judged on. What a training does besides (packaging, parity checks,
registration, reports) is spared. Nothing of it is kept but the finding.
"""

import hashlib
import json
import logging
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ferryman.data.versions.dataset import DatasetStore, DatasetVersion
from ferryman.errors import DataRejected, IntegrityBroken, SpecError
from ferryman.evaluation.intervals import paired_difference
from ferryman.evaluation.measures import make_measures
from ferryman.ledger.records import Head
from ferryman.monitoring.probe import ProbeFinding, Probes, judge_probe
from ferryman.packaging.onnx_scorer import OnnxScorer
from ferryman.runtime.bundle import SIGNATURE, Signature
from ferryman.runtime.bundle_signing import verify_signed
from ferryman.runtime.files import read_json
from ferryman.runtime.timings import Stopwatch
from ferryman.spec.monitoring import ProbeSpec
from ferryman.steps.champion_recipe import champion_recipe
from ferryman.steps.contract import StepContext
from ferryman.training.labels import encode_labels
from ferryman.training.trainer import FitPlan
from ferryman.training.trainers import make_trainer

if TYPE_CHECKING:
    import pandas as pd

_RESAMPLES = 500

logger = logging.getLogger(__name__)


def probe_retrain(
    context: StepContext, spec: ProbeSpec, head: Head, cutoff: datetime
) -> ProbeFinding:
    """Whether a retrain at the cut-off would beat the champion; what was tried before is returned.

    What cannot be compared (too few labels, a champion of another question, a pipeline that fails)
    is undecided, with the reason. Raises DependencyUnavailable (exit 6) where the data is away.
    """
    watch, metric = Stopwatch(), context.spec.monitor.quality.metric
    store = Probes(context.monitoring_root)
    datasets = DatasetStore(context.data_store, reason="probe", actor=context.settings.actor)
    try:
        train, evaluation = datasets.split(context.spec, cutoff)
    except (DataRejected, IntegrityBroken) as error:
        return _undecided(error.text, metric)
    plan = _plan(context, head)
    digest = _digest(context, spec, head, plan, (train, evaluation))
    kept = store.read(context.model.name, digest)
    if kept is not None:
        return kept
    try:
        finding = _compare(context, spec, head, plan, datasets, train=train, evaluation=evaluation)
    except (DataRejected, IntegrityBroken, SpecError) as error:
        logger.warning("%s: no probe: %s", context.model.name, error.text)
        finding = _undecided(error.text, metric)
    cost = watch.read()
    finding = replace(
        finding, seconds=round(cost.seconds, 3), cpu_seconds=round(cost.cpu_seconds, 3)
    )
    store.write(context.model.name, digest, finding)
    return finding


def _plan(context: StepContext, head: Head) -> FitPlan:
    """The declared training; of a model that is searched, with the champion's parameters."""
    train = context.spec.train
    recipe = champion_recipe(context, head) if context.spec.search is not None else None
    return FitPlan.of(train) if recipe is None else FitPlan.of(train, **recipe.params)


def _digest(
    context: StepContext,
    spec: ProbeSpec,
    head: Head,
    plan: FitPlan,
    datasets: tuple[DatasetVersion, DatasetVersion],
) -> str:
    """Names all that decides what a probe finds."""
    told = [
        head.digest,
        *(dataset.id for dataset in datasets),
        context.model.digest,
        [plan.pipeline, dict(plan.params), plan.seed],
        context.spec.monitor.quality.metric,
        [spec.margin, spec.confidence, spec.rows],
        [context.spec.train.min_rows, context.spec.gates.min_rows],
    ]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _compare(  # noqa: PLR0913 - what is compared with what
    context: StepContext,
    spec: ProbeSpec,
    head: Head,
    plan: FitPlan,
    datasets: DatasetStore,
    *,
    train: DatasetVersion,
    evaluation: DatasetVersion,
) -> ProbeFinding:
    declared, model = context.spec, context.model.name
    metric = declared.monitor.quality.metric
    for dataset, least, what in (
        (train, declared.train.min_rows, "train.min_rows"),
        (evaluation, declared.gates.min_rows, "gates.min_rows"),
    ):
        if dataset.rows < least:
            text = f"not enough labels ({dataset.rows} {dataset.role} rows, {what} is {least})"
            return _undecided(text, metric)
    judged = _bounded(datasets.load(evaluation.id, model), spec.rows)
    before = _champion_answers(context, head, judged)
    learned = _bounded(datasets.load(train.id, model), spec.rows)
    cores = min(context.settings.core_count, declared.runtime.cpu)
    fitted = make_trainer(declared, cores=cores).fit(learned, context.model, plan)
    found = paired_difference(
        make_measures(declared.train.task, declared.train.classes),
        encode_labels(judged["label"], declared.train),
        fitted.predict(judged),
        before,
        metric,
        confidence=spec.confidence,
        resamples=_RESAMPLES,
        seed=declared.train.seed,
    )
    if found is None:
        return _undecided(f"{metric} cannot be had on {len(judged)} rows", metric)
    sampled = len(learned) < train.rows
    of = f" of {train.rows}" if sampled else ""
    return ProbeFinding(
        outcome=judge_probe(found.low, found.high, margin=spec.margin, sampled=sampled),
        text=f"{metric} better by {found.estimate:+.4f} [{found.low:+.4f}, {found.high:+.4f}] on "
        f"{len(judged)} rows, learned from {len(learned)}{of}",
        metric=metric,
        estimate=found.estimate,
        low=found.low,
        high=found.high,
        rows=len(judged),
        train_rows=len(learned),
        known_rows=train.rows,
    )


def _champion_answers(
    context: StepContext, head: Head, frame: "pd.DataFrame"
) -> npt.NDArray[np.float64]:
    """The champion's answers, its classes in the declared order; SpecError for another question."""
    train, bundle = context.spec.train, Path(head.bundle)
    verify_signed(bundle, digest=head.digest, public_key=context.settings.signing_public_key)
    signature = Signature.model_validate(read_json(bundle / SIGNATURE))
    if signature.task != train.task or set(signature.classes) != set(train.classes):
        raise SpecError(f"the champion, version {head.version}, answers another question")
    answers = OnnxScorer(bundle).score(frame)
    order = [signature.classes.index(name) for name in train.classes]
    return answers[:, order] if order else answers


def _bounded(frame: "pd.DataFrame", most: int) -> Any:
    """At most so many rows, spread evenly over the time that the frame is ordered by."""
    if len(frame) <= most:
        return frame
    places = np.linspace(0, len(frame) - 1, most).astype(np.int64)
    return frame.iloc[places].reset_index(drop=True)


def _undecided(text: str, metric: str) -> ProbeFinding:
    return ProbeFinding(outcome="undecided", text=text, metric=metric)
