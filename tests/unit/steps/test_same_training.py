"""The model of an equal training is taken over with its history, or not at all."""

from pathlib import Path

import pytest

from ferryman.errors import LostRace
from ferryman.runtime.files import file_digest, write_json
from ferryman.runtime.messages import StepResult
from ferryman.spec.model import DeclaredModel
from ferryman.steps.same_training import HISTORY, find_same_training
from ferryman.steps.training_record import refuse_changed_folder

EPOCHS = [{"loss": 0.5, "auc": None}, {"loss": 0.25, "auc": 1.0}]


def trained(runs: Path, name: str, history: bool = True) -> Path:
    """A finished training in the folder of a run; returns the step's folder."""
    folder = runs / name / "train"
    folder.mkdir(parents=True)
    (folder / "model.keras").write_bytes(b"weights")
    if history:
        write_json(folder / HISTORY, EPOCHS)
    result = StepResult(
        model="rain",
        step="train",
        request_digest="d",
        outputs={
            "run_key": "k",
            "code_version": "c",
            "model_sha256": file_digest(folder / "model.keras"),
        },
        artifacts={"history": str(folder / HISTORY)} if history else {},
    )
    write_json(folder / "result.json", result.model_dump(mode="json"))
    return folder


def test_model_and_history_are_found(tmp_path: Path) -> None:
    folder = trained(tmp_path, "one")
    found = find_same_training(tmp_path, tmp_path / "two" / "train", "model.keras", "k", "c")
    assert found is not None
    assert (found.run, found.model, list(found.history)) == ("one", folder / "model.keras", EPOCHS)
    own = find_same_training(tmp_path, folder, "model.keras", "k", "c")
    assert own is None


@pytest.mark.parametrize(
    ("key", "code"), [("other", "c"), ("k", "other"), ("k", "unknown"), ("k", "c-dirty")]
)
def test_another_training_is_not_taken(tmp_path: Path, key: str, code: str) -> None:
    trained(tmp_path, "one")
    assert find_same_training(tmp_path, tmp_path, "model.keras", key, code) is None


@pytest.mark.parametrize("damage", ["[", "{}", '[["loss", 1]]', '[{"loss": "low"}]', None])
def test_a_history_that_is_damaged_is_not_carried_on(tmp_path: Path, damage: str | None) -> None:
    folder = trained(tmp_path, "one")
    if damage is None:
        (folder / HISTORY).unlink()
    else:
        (folder / HISTORY).write_text(damage)
    assert find_same_training(tmp_path, tmp_path, "model.keras", "k", "c") is None
    trained(tmp_path, "two")
    again = find_same_training(tmp_path, tmp_path, "model.keras", "k", "c")
    assert again is not None
    assert list(again.history) == EPOCHS


def test_without_epochs_there_is_no_history(tmp_path: Path) -> None:
    trained(tmp_path, "one", history=False)
    found = find_same_training(tmp_path, tmp_path, "model.keras", "k", "c")
    assert found is not None
    assert list(found.history) == []


def test_a_folder_that_changes_while_it_is_trained_is_a_lost_race(rain: DeclaredModel) -> None:
    refuse_changed_folder(rain)
    (rain.folder / "pipeline.py").write_text("changed = True\n")
    with pytest.raises(LostRace, match="was changed while 'rain' was trained"):
        refuse_changed_folder(rain)
