"""Puts a released model's files together: the bundle that serving loads."""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ferryman.packaging.export import export_onnx
from ferryman.packaging.parity import (
    ParityReport,
    Predict,
    answer_all,
    check,
    feature_columns,
    probe_rows,
    raw_row,
)
from ferryman.runtime.bundle import (
    GOLDEN,
    ONNX,
    REFERENCE,
    SIGNATURE,
    SKOPS,
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

logger = logging.getLogger(__name__)

_PARITY_ROWS = 500
_GOLDEN_ROWS = 50


@dataclass(frozen=True)
class PackedModel:
    """A fitted model and what goes beside it."""

    estimator: Any
    predict: Predict
    model_file: Path
    reference: Mapping[str, Any]


@dataclass(frozen=True)
class Bundle:
    """A finished bundle: where it is, its digest, how exact its graph is."""

    folder: Path
    digest: str
    parity: ParityReport


def write_bundle(
    packed: PackedModel, spec: ModelSpec, rows: "pd.DataFrame", *, work: Path, bundles_root: Path
) -> Bundle:
    """Export, check parity on raw rows, and keep the bundle under <root>/<model>/<digest>.

    `rows` is a frame of real feature rows to draw from; `work` is a folder of this attempt alone,
    which is emptied. Created once: equal content is one folder,
    and a folder that is there already is verified byte by byte. Raises IntegrityBroken (exit 7)
    where graph and pipeline differ or a kept bundle is damaged, SpecError (exit 2) where the
    pipeline cannot be exported or cannot answer nulls.
    """
    columns = spec.features.columns
    probes = probe_rows(rows, columns, count=_PARITY_ROWS, seed=spec.train.seed)
    answers = answer_all(packed.predict, probes)
    shutil.rmtree(work, ignore_errors=True)  # what a killed attempt left
    work.mkdir(parents=True)
    with space_errors(work):
        export_onnx(packed.estimator, columns, work / ONNX, name=spec.name)
        parity = check(packed.predict, work / ONNX, columns, probes)
        shutil.copyfile(packed.model_file, work / SKOPS)
        signature = Signature(
            features=feature_columns(columns),
            entity=spec.features.entity,
            output=spec.data.label.name,
        )
        write_json(work / SIGNATURE, signature.model_dump(mode="json"))
        write_json(work / GOLDEN, _golden(probes, answers, spec).model_dump(mode="json"))
        write_json(work / REFERENCE, dict(packed.reference))
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


def _golden(rows: "pd.DataFrame", answers: Any, spec: ModelSpec) -> Golden:
    """Some of the probes, evenly taken, so that real rows and surprises are both there."""
    picked = np.unique(np.linspace(0, len(rows) - 1, _GOLDEN_ROWS).round().astype(int))
    columns = spec.features.columns
    return Golden(
        rows=[raw_row(rows, int(index), columns) for index in picked],
        outputs=[float(answers[index]) for index in picked],
    )
