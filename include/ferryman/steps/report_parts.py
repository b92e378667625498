"""The parts of a report that are measured anew: slices, behaviour, refits, explanations.

Each gives its section and its evidence as JSON, or a sentence that says why there is none.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import JsonValue

from ferryman.errors import FerrymanError
from ferryman.evaluation.behaviour import run_behaviour
from ferryman.evaluation.document import Section
from ferryman.evaluation.explanation import explain
from ferryman.evaluation.fairness import measure_fairness
from ferryman.evaluation.fairness_days import event_days
from ferryman.evaluation.learning_curve import learning_curve
from ferryman.evaluation.report_diagnosis import (
    fairness_section,
    learning_section,
    risk_section,
)
from ferryman.evaluation.report_sections import (
    Answers,
    answers_section,
    behaviour_section,
    explanation_section,
    headline_section,
    history_section,
    slices_section,
)
from ferryman.evaluation.risk import measure_risk
from ferryman.evaluation.rivals import constant_answer
from ferryman.evaluation.slices import measure_slices
from ferryman.steps.report_material import Material

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """A section with its evidence and what is tracked of it, or why there is none."""

    name: str
    section: Section | None = None
    evidence: JsonValue = None
    missing: str = ""
    metrics: Mapping[str, float | None] = field(default_factory=dict)


def measured_parts(material: Material) -> Iterator[Part]:
    """Every part, in the order in which they are read."""
    yield _figures(material)
    if not material.finite:
        yield Part("answers", missing="Some answers are no numbers: nothing else can be measured.")
        return
    yield _answers(material)
    for measured in (_slices, _fairness, _behaviour, _risk, _learning, _explanation, _history):
        yield measured(material)


def _figures(material: Material) -> Part:
    spec, measures = material.spec, material.measures
    figures = material.context.earlier("evaluate").metrics
    answer = constant_answer(
        spec.train.task, len(spec.train.classes), material.train_labels, len(material.frame)
    )
    constant = measures.score(material.labels, answer)
    confidence = spec.gates.champion.confidence
    section = headline_section(measures.names, figures, constant, confidence)
    evidence: JsonValue = {"metrics": dict(figures), "constant": dict(constant)}
    return Part("figures", section, evidence)


def _answers(material: Material) -> Part:
    train = material.spec.train
    given = Answers(
        task=train.task,
        label=material.spec.data.label.name,
        classes=train.classes,
        labels=material.labels,
        predictions=material.predictions,
    )
    evidence = material.context.earlier("evaluate").outputs.get("confusion")
    return Part("answers", answers_section(given), {"confusion": evidence})


def _slices(material: Material) -> Part:
    spec, evaluation = material.spec, material.spec.evaluation
    if not evaluation.slices:
        return Part("slices", missing="Slices: none are declared (evaluation.slices).")
    found = measure_slices(
        material.measures,
        material.frame,
        material.labels,
        material.predictions,
        evaluation.slices,
        min_rows=evaluation.min_rows,
        confidence=spec.gates.champion.confidence,
        resamples=spec.gates.resamples,
        seed=spec.train.seed,
    )
    metric = spec.gates.champion.metric
    whole = material.context.earlier("evaluate").metrics.get(metric)
    few = sum(not one.enough for one in found)
    missing = f"Slices: {few} of {len(found)} have not enough data." if few else ""
    section = slices_section(found, metric, whole)
    return Part("slices", section, [one.as_json() for one in found], missing)


def _fairness(material: Material) -> Part:
    spec = material.spec
    if not spec.gates.fairness:
        return Part("fairness", missing="Groups: no gap is bounded (gates.fairness).")
    found = [
        measure_fairness(
            material.measures,
            material.frame,
            material.labels,
            material.predictions,
            column=gate.column,
            metric=gate.metric,
            min_rows=spec.evaluation.min_rows,
            confidence=spec.gates.champion.confidence,
            resamples=spec.gates.resamples,
            seed=spec.train.seed,
            days=event_days(material.frame),
        )
        for gate in spec.gates.fairness
    ]
    bounds = [gate.max_gap for gate in spec.gates.fairness]
    return Part("fairness", fairness_section(found, bounds), [one.as_json() for one in found])


def _behaviour(material: Material) -> Part:
    spec = material.spec
    if not spec.gates.behaviour:
        return Part("behaviour", missing="Behaviour: no tests are declared (gates.behaviour).")
    found = run_behaviour(
        spec.gates.behaviour,
        material.frame,
        material.model.predict,
        features=spec.features.columns,
        classes=spec.train.classes,
        seed=spec.train.seed,
    )
    return Part("behaviour", behaviour_section(found), [one.as_json() for one in found])


def _risk(material: Material) -> Part:
    spec, evaluation = material.spec, material.spec.evaluation
    if evaluation.risk_resamples < 2:
        off = f"off (evaluation.risk_resamples is {evaluation.risk_resamples})"
        return Part("risk", missing=f"Bias, variance and noise: {off}.")
    try:
        found = measure_risk(
            material.refit,
            material.train,
            material.frame,
            material.labels,
            task=spec.train.task,
            features=list(spec.features.columns),
            resamples=evaluation.risk_resamples,
            refit_rows=evaluation.refit_rows,
            confidence=spec.gates.champion.confidence,
            seed=spec.train.seed,
        )
    except (FerrymanError, ValueError) as error:
        return Part("risk", missing=_not_refitted("Bias, variance and noise", error))
    figures = {
        "risk_expected": found.expected,
        "risk_variance": found.variance,
        "risk_bias_and_noise": found.bias_and_noise,
    }
    return Part("risk", risk_section(found), found.as_json(), metrics=figures)


def _learning(material: Material) -> Part:
    spec, evaluation = material.spec, material.spec.evaluation
    if evaluation.learning_curve == 0:
        return Part(
            "learning_curve", missing="Learning curve: off (evaluation.learning_curve is 0)."
        )
    try:
        found = learning_curve(
            material.refit,
            material.train,
            material.frame,
            material.measures,
            train_labels=material.train_labels,
            labels=material.labels,
            task=spec.train.task,
            metric=spec.gates.champion.metric,
            features=list(spec.features.columns),
            points=evaluation.learning_curve,
            refit_rows=evaluation.refit_rows,
            confidence=spec.gates.champion.confidence,
            seed=spec.train.seed,
        )
    except (FerrymanError, ValueError) as error:
        return Part("learning_curve", missing=_not_refitted("Learning curve", error))
    return Part("learning_curve", learning_section(found), found.as_json())


def _not_refitted(what: str, error: Exception) -> str:
    """A small sample may be one that cannot be fitted: told, for the report is of the rest too."""
    logger.warning("%s: a refit failed: %s", what, error)
    text = error.text if isinstance(error, FerrymanError) else str(error)
    return f"{what}: not measured, since a refit failed: {text[:300]}"


def _explanation(material: Material) -> Part:
    spec, most = material.spec, material.spec.evaluation.explained_rows
    if most == 0:
        return Part("explanation", missing="Explanation: off (evaluation.explained_rows is 0).")
    names = list(spec.features.columns)
    rows = _sample(material.frame, most, spec.train.seed)
    found = explain(
        material.model.predict,
        rows,
        material.train,
        names,
        classes=spec.train.classes,
        unit="value" if spec.train.task == "regression" else "probability",
        seed=spec.train.seed,
    )
    records = [dict(zip(names, row, strict=True)) for row in rows[names].itertuples(index=False)]
    events = zip(rows["entity_key"], rows["event_time"], strict=True)
    told = [f"{key} at {time:%Y-%m-%d %H:%M}" for key, time in events]
    section = explanation_section(found, records, told)
    return Part("explanation", section, found.as_json())


def _history(material: Material) -> Part:
    place = material.context.earlier("train").artifacts.get("history")
    if place is None:
        return Part("history")
    history = json.loads(Path(place).read_bytes())
    return Part("history", history_section(history), history)


def _sample(frame: "pd.DataFrame", most: int, seed: int) -> "pd.DataFrame":
    if len(frame) <= most:
        return frame
    chosen = np.random.default_rng(seed).choice(len(frame), most, replace=False)
    return frame.iloc[np.sort(chosen)]
