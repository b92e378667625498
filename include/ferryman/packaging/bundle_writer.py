"""Puts a released model's files together: the bundle that serving loads."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ferryman.packaging.formats import LoadedModel, feature_columns, write_formats
from ferryman.packaging.mlflow_format import write_mlflow_format
from ferryman.packaging.parity import (
    ParityReport,
    Predict,
    Scores,
    Trained,
    answer_all,
    compare,
    tolerance_of,
)
from ferryman.packaging.probes import raw_row
from ferryman.packaging.serving_graph import write_serving_graph
from ferryman.packaging.trained_answers import parity_rows, recorded_answers
from ferryman.runtime.bundle import (
    GOLDEN,
    PARITY,
    REFERENCE,
    SIGNATURE,
    Golden,
    Manifest,
    Signature,
    seal,
    verify,
)
from ferryman.runtime.files import created_once, space_errors, write_json
from ferryman.spec.model import ModelSpec

if TYPE_CHECKING:
    import pandas as pd

_GOLDEN_ROWS = 50


@dataclass(frozen=True)
class PackedModel:
    """A fitted model's file, how it is read, and what goes beside it.

    `answers` is the file of trained_answers that training left; without one the model that is read
    from `model_file` stands for the trained one.
    """

    model_file: Path
    load: Callable[[Path], LoadedModel]
    reference: Mapping[str, Any]
    answers: Path | None = None


@dataclass(frozen=True)
class Bundle:
    """A finished bundle: where it is, its digest, how exact its formats are."""

    folder: Path
    digest: str
    parity: ParityReport


def write_bundle(
    packed: PackedModel, spec: ModelSpec, rows: "pd.DataFrame", *, work: Path, bundles_root: Path
) -> Bundle:
    """Write every format, check parity on raw rows, keep the bundle as <root>/<model>/<digest>.

    `rows` is a frame of real feature rows to draw from; `work` is a folder of this attempt alone,
    which is emptied. Created once: equal content is one folder,
    and a folder that is there already is verified byte by byte. Raises IntegrityBroken (exit 7)
    where a format and the trained model differ or a kept bundle is damaged, SpecError (exit 2)
    where the model cannot be exported or cannot answer nulls.
    """
    shutil.rmtree(work, ignore_errors=True)  # what a killed attempt left
    work.mkdir(parents=True)
    with space_errors(work):
        own = work / packed.model_file.name
        shutil.copyfile(packed.model_file, own)
        # Read once, from the bundle's own copy: what is exported is what was kept.
        loaded = packed.load(own)
        probes = parity_rows(rows, spec)
        answers = answer_all(loaded.predict, probes)
        trained = _trained(packed, spec, probes, loaded.predict, answers)
        formats: dict[str, Predict] = {own.suffix[1:]: loaded.predict}
        formats |= write_formats(loaded, spec, work)
        blocks, serving = write_serving_graph(work, trained)
        parity = compare(trained, formats | serving)
        signature = _signature(spec).model_copy(update={"blocks": blocks})
        write_json(work / SIGNATURE, signature.model_dump(mode="json"))
        write_json(work / GOLDEN, _golden(trained).model_dump(mode="json"))
        write_json(work / PARITY, _certificate(parity))
        write_json(work / REFERENCE, dict(packed.reference))
        write_mlflow_format(work, signature, spec.name)
        manifest = seal(work, model=spec.name, task=spec.train.task, framework=spec.train.framework)
    folder = keep(work, manifest, bundles_root)
    shutil.rmtree(work)
    return Bundle(folder=folder, digest=manifest.digest, parity=parity)


def keep(source: Path, manifest: Manifest, bundles_root: Path) -> Path:
    """Copy or find a sealed bundle under its digest; the result is verified."""
    target = bundles_root / manifest.model / manifest.digest
    if not target.is_dir():
        with created_once(target) as scratch:
            shutil.copytree(source, scratch, dirs_exist_ok=True)
    verify(target, digest=manifest.digest)
    return target


def _trained(
    packed: PackedModel,
    spec: ModelSpec,
    probes: "pd.DataFrame",
    predict: Predict,
    answers: Scores,
) -> Trained:
    """The truth: what training recorded, or else what the model in the file answers."""
    if packed.answers is not None:
        answers = recorded_answers(packed.answers, len(probes))
    return Trained(
        rows=probes,
        answers=answers,
        predict=predict,
        columns=spec.features.columns,
        outputs=spec.train.classes or [spec.data.label.name],
        tolerance=tolerance_of(spec.train.task, answers),
    )


def _signature(spec: ModelSpec) -> Signature:
    logged = spec.serving.log.columns
    return Signature(
        features=feature_columns(spec.features.columns),
        entity=spec.features.entity,
        output=spec.data.label.name,
        task=spec.train.task,
        classes=spec.train.classes,
        logged=None if logged == "all" else list(logged),
    )


def _golden(trained: Trained) -> Golden:
    """Some of the probes, evenly taken, so that real rows and surprises are both there."""
    picked = np.linspace(0, len(trained.rows) - 1, _GOLDEN_ROWS).round().astype(int)
    places = np.unique(picked)
    return Golden(
        rows=[raw_row(trained.rows, int(place), trained.columns) for place in places],
        outputs=trained.answers[places].tolist(),
        tolerance=trained.tolerance,
    )


def _certificate(parity: ParityReport) -> dict[str, Any]:
    return {
        "rows": parity.rows,
        "tolerance": parity.tolerance,
        "formats": dict(parity.formats),
    }
