"""The run key changes with each thing that decides a training; the code's version is told."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ferryman.settings import Settings
from ferryman.training.run_keys import code_version, run_key

SAME: dict[str, Any] = {
    "dataset_id": ["a", "b"],
    "code_digest": "c",
    "params": {"depth": 3, "rate": 0.1},
    "seed": 7,
}


def test_equal_trainings_have_equal_keys() -> None:
    turned = {**SAME, "params": {"rate": 0.1, "depth": 3}}
    assert run_key(**SAME) == run_key(**turned)
    assert len(run_key(**SAME)) == 64
    assert run_key("a", "c", {}, 7) == run_key(["a"], "c", {}, 7)


@pytest.mark.parametrize(
    "change",
    [
        {"dataset_id": ["a", "x"]},
        {"dataset_id": ["b", "a"]},
        {"code_digest": "x"},
        {"params": {"depth": 3, "rate": 0.2}},
        {"params": {"depth": 3}},
        {"seed": 8},
    ],
)
def test_any_change_changes_the_key(change: dict[str, Any]) -> None:
    assert run_key(**{**SAME, **change}) != run_key(**SAME)


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@e.org"]
    done = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_code_version_is_the_commit_and_tells_changes(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path, home=tmp_path / "home", code_version="")
    assert code_version(settings) == "unknown"
    git(tmp_path, "init", "-q")
    assert code_version(settings) == "unknown"
    (tmp_path / "a.txt").write_text("1")
    git(tmp_path, "add", "a.txt")
    git(tmp_path, "commit", "-q", "-m", "one")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "untracked.txt").write_text("1")
    assert code_version(settings) == commit
    (tmp_path / "a.txt").write_text("2")
    assert code_version(settings) == f"{commit}-dirty"


def test_declared_code_version_wins(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path, home=tmp_path / "home", code_version="v1.2")
    assert code_version(settings) == "v1.2"
