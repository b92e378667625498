"""Which trainer and which file format a framework has."""

from collections.abc import Mapping
from pathlib import Path

from ferryman.errors import SpecError
from ferryman.spec.model import ModelSpec
from ferryman.spec.training import Framework
from ferryman.training.trainer import FittedModel, Trainer

MODEL_FILES: Mapping[Framework, str] = {"sklearn": "model.skops", "keras": "model.keras"}


def make_trainer(spec: ModelSpec, *, cores: int = 1) -> Trainer:
    """The trainer of a model's framework, bound to a number of cores."""
    if spec.train.framework == "sklearn":
        from ferryman.training.sklearn_trainer import SklearnTrainer

        return SklearnTrainer(cores=cores)
    if spec.train.framework == "keras":
        from ferryman.training.keras_trainer import KerasTrainer

        return KerasTrainer(cores=cores)
    raise SpecError(f"no trainer for framework {spec.train.framework!r}")


def load_model_file(path: Path, spec: ModelSpec, *, cores: int = 1) -> FittedModel:
    """Read a fitted model that `save` wrote; the file's ending names the format.

    Raises PolicyRefused (exit 9) for types that are not trusted, IntegrityBroken (exit 7) for a
    damaged file, SpecError (exit 2) for an unknown format.
    """
    if path.suffix == ".skops":
        from ferryman.training.sklearn_trainer import SklearnModel
        from ferryman.training.skops_file import load_skops

        estimator = load_skops(path)
        return SklearnModel(estimator, spec.features.columns, spec.train.task, cores=cores)
    if path.suffix == ".keras":
        from ferryman.training.keras_file import load_keras
        from ferryman.training.keras_trainer import KerasModel

        model = load_keras(path, cores=cores)
        return KerasModel(model, spec.features.columns, spec.train.task)
    known = ", ".join(sorted(Path(name).suffix for name in MODEL_FILES.values()))
    raise SpecError(f"{path}: no format is known by that ending", remedy=f"Formats: {known}.")
