"""What surrounded a training then is compared with now, and the nearest cause is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from ferryman.registry.environment import environment_files
from ferryman.reproduction.surroundings import (
    compare_commit,
    compare_cores,
    compare_declaration,
    compare_lock,
    compare_packages,
)
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.steps.training_record import lock_digest
from ferryman.training.recipe import Recipe, read_recipe

FACTS: dict[str, Any] = {
    "model": "rain",
    "train_dataset": "a" * 64,
    "eval_dataset": "b" * 64,
    "code_digest": "c" * 64,
    "code_version": "c0ffee",
    "pipeline": "pipeline.py:build",
    "params": {"max_iter": 20, "learning_rate": 0.2},
    "seed": 7,
    "cores": 2,
}
RECIPE = Recipe(**FACTS)


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    for name, content in environment_files().items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def with_packages(environment: Path, **versions: str | None) -> Path:
    file = environment / "requirements.txt"
    lines = dict(line.partition("==")[::2] for line in file.read_text().splitlines())
    lines.update({name: version for name, version in versions.items() if version})
    for name in [name for name, version in versions.items() if version is None]:
        del lines[name]
    file.write_text("".join(f"{name}=={version}\n" for name, version in lines.items()))
    return environment


def test_the_same_packages_are_the_same(environment: Path) -> None:
    assert compare_packages(environment).same


def test_of_packages_that_differ_the_nearest_to_the_numbers_is_named(environment: Path) -> None:
    found = compare_packages(with_packages(environment, pandas="1.0", numpy="1.0", pytest="1.0"))
    assert not found.same
    assert found.text.startswith("numpy 1.0 then, ")
    assert "3 of" in found.text
    gone = compare_packages(with_packages(environment, tensorflow=None))
    assert gone.text.startswith("tensorflow absent then, ")


def test_packages_that_do_not_matter_are_counted(environment: Path) -> None:
    found = compare_packages(with_packages(environment, pytest="1.0", flask="0.1"))
    assert found.same
    assert "2 of" in found.text


def test_another_interpreter_or_nothing_recorded_is_told(environment: Path) -> None:
    about = json.loads((environment / "python.json").read_bytes())
    (environment / "python.json").write_text(json.dumps({**about, "python": "3.9.1"}))
    assert compare_packages(environment).text.startswith("python 3.9.1 then, ")
    (environment / "python.json").write_text("{")
    assert "not known" in compare_packages(environment).text


@pytest.mark.parametrize(
    ("then", "now", "same"),
    [
        ("c0ffee", "c0ffee", True),
        ("c0ffee", "decade", False),
        ("c0ffee-dirty", "c0ffee-dirty", False),  # nobody knows which changes they were
        ("unknown", "c0ffee", False),
    ],
)
def test_commits(then: str, now: str, same: bool, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, code_version=now)
    found = compare_commit(Recipe(**{**FACTS, "code_version": then}), settings)
    assert found.same is same
    assert ("uncommitted" in found.text) == ("dirty" in then)


def test_the_lock_is_compared_by_its_bytes(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    assert compare_lock(RECIPE, settings).text == "none, then and now"
    (tmp_path / "requirements.txt").write_text("numpy==1\n")
    locked = Recipe(**{**FACTS, "lock": lock_digest(settings)})
    assert compare_lock(locked, settings).same
    (tmp_path / "requirements.txt").write_text("numpy==2\n")
    assert not compare_lock(locked, settings).same


def test_what_is_declared_now_is_told(rain: DeclaredModel) -> None:
    assert all(found.same for found in compare_declaration(RECIPE, rain))
    other = Recipe(**{**FACTS, "params": {"max_iter": 20, "depth": 3}, "seed": 8})
    params, seed, pipeline = compare_declaration(other, rain)
    assert params.text == "depth 3 then, absent is declared now"
    assert seed.text == "8 then, 7 is declared now"
    assert pipeline.same
    searched = Recipe(**{**FACTS, "params": {"max_iter": 9}, "trial": {"number": 4}})
    assert compare_declaration(searched, rain)[0].same
    assert not compare_declaration(RECIPE, None)[0].same


def test_fewer_cores_are_told(tmp_path: Path) -> None:
    assert compare_cores(RECIPE, Settings(home=tmp_path, cpus=2)).same
    assert compare_cores(RECIPE, Settings(home=tmp_path, cpus=1)).text == "2 then, 1 now"


def test_a_recipe_keeps_its_run_key_as_json() -> None:
    params = {"a": 1, "b": 1.0, "c": True, "d": "1", "e": 1e-7}
    recipe = Recipe(**{**FACTS, "params": params})
    again = read_recipe(recipe.model_dump_json().encode(), "here")
    assert again == recipe
    assert again.run_key == recipe.run_key
    assert [type(value) for value in again.params.values()] == [int, float, bool, str, float]


@pytest.mark.parametrize(
    "change",
    [
        {"train_dataset": "d" * 64},
        {"eval_dataset": "d" * 64},
        {"code_digest": "d" * 64},
        {"params": {"max_iter": 21, "learning_rate": 0.2}},
        {"seed": 8},
        {"leakage_accepted": True},
    ],
)
def test_each_part_of_a_recipe_changes_its_run_key(change: dict[str, Any]) -> None:
    assert Recipe(**{**FACTS, **change}).run_key != RECIPE.run_key


def test_what_only_surrounds_a_training_does_not_change_its_run_key() -> None:
    for change in ({"code_version": "x"}, {"lock": "x"}, {"cores": 1}, {"trial": {"number": 1}}):
        assert Recipe(**{**FACTS, **change}).run_key == RECIPE.run_key
