"""Which trainer and which file format a framework has."""

from collections.abc import Mapping
from pathlib import Path

from ferryman.errors import SpecError
from ferryman.spec.data import FeatureSpec
from ferryman.training.trainer import FittedModel, Trainer


def make_trainer(framework: str, *, cores: int = 1) -> Trainer:
    """The trainer of a framework, bound to a number of cores; SpecError (exit 2) if unknown."""
    if framework == "sklearn":
        from ferryman.training.sklearn_trainer import SklearnTrainer

        return SklearnTrainer(cores=cores)
    raise SpecError(f"no trainer for framework {framework!r}", remedy="Frameworks: sklearn.")


def load_model_file(
    path: Path, columns: Mapping[str, FeatureSpec], *, cores: int = 1
) -> FittedModel:
    """Read a fitted model that `save` wrote; the file's ending names the format.

    Raises PolicyRefused (exit 9) for types that are not trusted, IntegrityBroken (exit 7) for a
    damaged file, SpecError (exit 2) for an unknown format.
    """
    if path.suffix == ".skops":
        from ferryman.training.sklearn_trainer import SklearnModel
        from ferryman.training.skops_file import load_skops

        return SklearnModel(load_skops(path), columns, cores=cores)
    raise SpecError(f"{path}: no format is known by that ending", remedy="Formats: .skops.")
