"""Finds the model of a training that was done before: equal inputs give an equal model.

The run key names data, the model's folder, parameters and seed; the code version names the rest.
"""

import logging
from pathlib import Path

from ferryman.errors import IntegrityBroken
from ferryman.runtime.files import file_digest
from ferryman.runtime.run_store import RESULT, read_result
from ferryman.training.run_keys import UNKNOWN

logger = logging.getLogger(__name__)


def find_same_training(
    training_runs: Path, own: Path, file_name: str, run_key: str, code_version: str
) -> tuple[str, Path] | None:
    """The run and the model file of an equal training, its bytes verified; None without one.

    `training_runs` is the folder of all training runs of the model, `own` this step's folder,
    `file_name` how the framework's model file is called there. Code
    that is not committed has no version to trust, so nothing is taken over for it.
    """
    if code_version == UNKNOWN or code_version.endswith("-dirty"):
        return None
    for file in sorted(training_runs.glob(f"*/train/{RESULT}")):
        if file.parent == own:
            continue
        try:
            outputs = read_result(file).outputs
        except IntegrityBroken as error:
            logger.warning("%s", error.text)  # not ours to judge: this training can do without it
            continue
        model = file.with_name(file_name)
        if (outputs.get("run_key"), outputs.get("code_version")) != (run_key, code_version):
            continue
        if model.is_file() and file_digest(model) == outputs.get("model_sha256"):
            return file.parent.parent.name, model
    return None
