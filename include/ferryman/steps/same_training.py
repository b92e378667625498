"""Finds the model of a training that was done before: equal inputs give an equal model.

The run key names data, the model's folder, parameters and seed; the code version names the rest.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ferryman.errors import IntegrityBroken
from ferryman.runtime.files import file_digest, read_json
from ferryman.runtime.messages import StepResult
from ferryman.runtime.run_store import RESULT, read_result
from ferryman.training.run_keys import UNKNOWN

HISTORY = "history.json"  # the figures of each epoch, beside the model file

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SameTraining:
    """An equal training: its run's folder by name, its model file, the figures of its epochs."""

    run: str
    model: Path
    history: Sequence[Mapping[str, float | None]] = ()


def find_same_training(
    training_runs: Path, own: Path, file_name: str, run_key: str, code_version: str
) -> SameTraining | None:
    """An equal training, its model file's bytes verified; None without one.

    `training_runs` is the folder of all training runs of the model, `own` this step's folder,
    `file_name` how the framework's model file is called there. Code
    that is not committed has no version to trust, so nothing is taken over for it.
    """
    if code_version == UNKNOWN or code_version.endswith("-dirty"):
        return None
    for file, result in finished_trainings(training_runs):
        if file.parent == own:
            continue
        outputs, model = result.outputs, file.with_name(file_name)
        if (outputs.get("run_key"), outputs.get("code_version")) != (run_key, code_version):
            continue
        if not model.is_file() or file_digest(model) != outputs.get("model_sha256"):
            continue
        history = _history(file.with_name(HISTORY)) if "history" in result.artifacts else ()
        if history is not None:
            return SameTraining(file.parent.parent.name, model, history)
    return None


def finished_trainings(training_runs: Path) -> Iterator[tuple[Path, StepResult]]:
    """The readable results of `train` in all runs of a model, each with its file."""
    for file in sorted(training_runs.glob(f"*/train/{RESULT}")):
        try:
            yield file, read_result(file)
        except IntegrityBroken as error:
            logger.warning("%s", error.text)  # not ours to judge: a training can do without it


def _history(file: Path) -> Sequence[Mapping[str, float | None]] | None:
    """The figures of the epochs; None where they are not readable any more."""
    try:
        epochs = read_json(file)
        if not isinstance(epochs, list):
            raise TypeError("not a list of epochs")
        return [{str(k): None if v is None else float(v) for k, v in e.items()} for e in epochs]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        logger.warning("%s: %s", file, error)
        return None
