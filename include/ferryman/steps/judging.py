"""Brings together what the gate judges: the rows, the candidate's answers, and its rival's."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ferryman.data.versions.dataset import DatasetStore
from ferryman.data.versions.dataset_catalogue import DatasetCatalogue
from ferryman.errors import PolicyRefused
from ferryman.evaluation.behaviour import behaviour_opinions, run_behaviour
from ferryman.evaluation.gates import GateVerdict, Opinion, judge
from ferryman.evaluation.measures import Measures, make_measures
from ferryman.evaluation.metrics import Floats
from ferryman.evaluation.rivals import (
    CHAMPION,
    Rival,
    champion_rival,
    constant_rival,
    pipeline_rival,
)
from ferryman.evaluation.slice_gate import fairness_opinions, slice_opinions
from ferryman.ledger.records import Candidate, Head, utc_text
from ferryman.packaging.onnx_scorer import OnnxScorer
from ferryman.runtime.bundle import SIGNATURE, Signature
from ferryman.runtime.bundle_signing import verify_signed
from ferryman.runtime.files import read_json
from ferryman.steps.contract import StepContext
from ferryman.training.labels import encode_labels
from ferryman.training.trainer import FitPlan
from ferryman.training.trainers import make_trainer

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class _Rows:
    """The evaluation rows with their labels and the candidate's answers."""

    measures: Measures
    frame: "pd.DataFrame"
    labels: npt.NDArray[Any]
    answers: Floats


def judge_candidate(
    context: StepContext, candidate: Candidate, head: Head | None
) -> dict[str, Any]:
    """The verdict on a candidate against the head, and all it rests on, as plain JSON.

    Raises PolicyRefused (exit 9) where the evaluation data is not of the candidate's cut-off, or
    no training data is on record to make the baseline from; IntegrityBroken (exit 7) for a bundle
    that is not what was registered.
    """
    spec = context.spec
    datasets = DatasetStore(context.data_store)
    frame = _evaluation_rows(context, candidate, datasets)
    labels = encode_labels(frame["label"], spec.train)
    measures = make_measures(spec.train.task, spec.train.classes)
    scorer = _scorer(context, candidate.bundle, candidate.digest)
    _check_task(context, candidate)
    answers = scorer.score(frame)
    rival, remark = _rival(context, candidate, head, datasets, frame)
    accepted = _accepted_leakage(context, candidate)
    rows = _Rows(measures, frame, labels, answers)
    verdict = judge(
        spec.gates,
        measures,
        labels,
        answers,
        rival,
        seed=spec.train.seed,
        leakage_accepted=accepted,
        further=_further(context, rows, rival, scorer),
    )
    evidence = {
        **_of_verdict(verdict),
        "text": _words(verdict) + (f" ({remark})" if remark else ""),
        "eval_dataset": candidate.eval_dataset,
        "train_dataset": candidate.train_dataset or None,
        "digest": candidate.digest,
        "remark": remark or None,
        "accepted_leakage": accepted or None,
        "champion": _champion(measures, labels, rival, head),
        "baseline": _baseline(context, measures, labels, rival),
    }
    return {name: _finite(value) for name, value in evidence.items()}


def _check_task(context: StepContext, candidate: Candidate) -> None:
    """What was declared when the candidate was trained is declared still."""
    train, signature = context.spec.train, _signature(candidate.bundle)
    if (signature.task, signature.classes) != (train.task, train.classes):
        raise PolicyRefused(
            f"{context.spec.name} version {candidate.version} answers a {signature.task} task with "
            f"{len(signature.classes)} classes; the declaration has another task or other classes",
            remedy="Train it again, or restore train.task and train.classes.",
        )


def _signature(bundle: str) -> Signature:
    return Signature.model_validate(read_json(Path(bundle) / SIGNATURE))


def _further(context: StepContext, rows: _Rows, rival: Rival, scorer: OnnxScorer) -> list[Opinion]:
    """What slices, groups and behavioural tests say, where any are declared."""
    spec = context.spec
    if not len(rows.frame) or not np.isfinite(rows.answers).all():
        return []  # the gate says so by itself
    champion = rival.predictions if rival.kind == CHAMPION else None
    evidence = (spec.gates, spec.evaluation, rows.measures, rows.frame)
    answers: dict[str, Any] = {
        "labels": rows.labels,
        "candidate": rows.answers,
        "seed": spec.train.seed,
    }
    behaved = run_behaviour(
        spec.gates.behaviour,
        rows.frame,
        scorer.score,
        features=spec.features.columns,
        classes=spec.train.classes,
        seed=spec.train.seed,
    )
    return [
        *slice_opinions(*evidence, **answers, champion=champion),
        *fairness_opinions(*evidence, **answers),
        *behaviour_opinions(behaved),
    ]


def _evaluation_rows(
    context: StepContext, candidate: Candidate, datasets: DatasetStore
) -> "pd.DataFrame":
    known = utc_text(datasets.get(candidate.eval_dataset, context.spec.name).cutoff)
    if known != candidate.cutoff:
        raise PolicyRefused(
            f"evaluation dataset {candidate.eval_dataset[:12]} was cut off at {known}, "
            f"not at {candidate.cutoff}"
        )
    frame: pd.DataFrame = datasets.load(candidate.eval_dataset, context.spec.name)
    return frame


def _accepted_leakage(context: StepContext, candidate: Candidate) -> str:
    override = DatasetCatalogue(context.data_store).override(
        context.spec.name, candidate.eval_dataset, candidate.run_key
    )
    return f"accepted by {override.actor}: {override.reason}" if override else ""


def _rival(
    context: StepContext,
    candidate: Candidate,
    head: Head | None,
    datasets: DatasetStore,
    frame: "pd.DataFrame",
) -> tuple[Rival, str]:
    """The champion where there is one that answers the same question, else the baseline."""
    spec = context.spec
    remark = ""
    if head is not None:
        scorer = _scorer(context, head.bundle, head.digest)
        signature = _signature(head.bundle)
        order = _same_classes(signature, spec.train.classes)
        if signature.task == spec.train.task and order is not None:
            answers = scorer.score(frame)
            return champion_rival(spec.gates, answers[:, order] if order else answers), ""
        remark = (
            f"version {head.version} answers another question ({signature.task}, "
            f"{len(signature.classes)} classes), so the baseline is the rival"
        )
    return _baseline_rival(context, candidate, datasets, frame), remark


def _same_classes(signature: Signature, classes: list[str]) -> list[int] | None:
    """Where the champion has each declared class; None where its classes are others."""
    if set(signature.classes) != set(classes):
        return None
    return [signature.classes.index(name) for name in classes]


def _baseline_rival(
    context: StepContext, candidate: Candidate, datasets: DatasetStore, frame: "pd.DataFrame"
) -> Rival:
    spec = context.spec
    if not candidate.train_dataset:
        raise PolicyRefused(
            f"{spec.name} version {candidate.version} names no training dataset, and the baseline "
            "of a first model is made from it",
            remedy="Train and register it again.",
        )
    train = datasets.load(candidate.train_dataset, spec.name)
    declared = spec.gates.baseline
    if declared.pipeline is None:
        labels = encode_labels(train["label"], spec.train)
        return constant_rival(
            spec.gates, spec.train.task, len(spec.train.classes), labels, len(frame)
        )
    plan = FitPlan(declared.pipeline, declared.params, spec.train.seed)
    cores = min(context.settings.core_count, spec.runtime.cpu)
    fitted = make_trainer(spec, cores=cores).fit(train, context.model, plan)
    return pipeline_rival(spec.gates, fitted.predict(frame))


def _scorer(context: StepContext, bundle: str, digest: str) -> OnnxScorer:
    key = context.settings.signing_public_key
    verify_signed(Path(bundle), digest=digest, public_key=key)
    return OnnxScorer(Path(bundle))


def _of_verdict(verdict: GateVerdict) -> dict[str, Any]:
    return {
        "outcome": verdict.outcome,
        "reasons": list(verdict.reasons),
        "opinions": [list(opinion) for opinion in verdict.opinions],
        "rows": verdict.rows,
        "rows_needed": verdict.rows_needed,
        "against": verdict.against,
        "rival": verdict.rival,
        "finding": verdict.finding,
        "candidate": verdict.metrics,
        "intervals": {name: _plain(found) for name, found in verdict.intervals.items()},
        "difference": _plain(verdict.difference),
    }


def _champion(
    measures: Measures, labels: Floats, rival: Rival, head: Head | None
) -> dict[str, Any] | None:
    """Who served when the verdict was made, with its figures where it was the rival."""
    if head is None:
        return None
    metrics = measures.score(labels, rival.predictions) if rival.kind == CHAMPION else None
    return {
        "epoch": head.epoch,
        "version": head.version,
        "digest": head.digest,
        "metrics": metrics,
    }


def _baseline(
    context: StepContext, measures: Measures, labels: Floats, rival: Rival
) -> dict[str, Any] | None:
    if rival.kind != "baseline":
        return None
    declared = context.spec.gates.baseline
    return {
        **declared.model_dump(mode="json"),
        "name": rival.name,
        "metric": rival.metric,
        "metrics": measures.score(labels, rival.predictions),
        "answer": _constant(rival) if declared.kind == "constant" else None,
    }


def _constant(rival: Rival) -> float | list[float] | None:
    if not len(rival.predictions):
        return None
    answer: float | list[float] = np.asarray(rival.predictions[0]).tolist()
    return answer


def _words(verdict: GateVerdict) -> str:
    needed = f"; about {verdict.rows_needed} would do" if verdict.rows_needed else ""
    if verdict.outcome == "undecided":
        return f"undecided: {verdict.rows} rows{needed}: {'; '.join(verdict.reasons)}"
    return verdict.text


def _plain(value: Any) -> Any:
    return None if value is None else asdict(value)


def _finite(value: Any) -> Any:
    """Evidence is JSON: what is no number is null, in the ledger as everywhere."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
