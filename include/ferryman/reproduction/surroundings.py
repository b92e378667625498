"""Compares what surrounds a training: project, packages, interpreter, declaration, cores."""

import json
from collections.abc import Mapping
from pathlib import Path

from ferryman.registry.environment import environment_files
from ferryman.reproduction.findings import Finding
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.steps.training_record import lock_digest
from ferryman.training.recipe import Recipe
from ferryman.training.run_keys import UNKNOWN, code_version

# What a fit computes with, the nearest to the numbers first.
_MATTERS = (
    "scikit-learn",
    "tensorflow",
    "keras",
    "numpy",
    "scipy",
    "pandas",
    "joblib",
    "threadpoolctl",
    "skops",
    "pyarrow",
    "duckdb",
    "shap",
    "optuna",
)


def compare_commit(recipe: Recipe, settings: Settings) -> Finding:
    """The project's commit; files that were not committed, then or now, are told."""
    now, then = code_version(settings), recipe.code_version
    if UNKNOWN in (now, then):
        return Finding("project", now == then, f"commit {then[:12]} then, {now[:12]} now")
    if now == then and not now.endswith("-dirty"):
        return Finding("project", True, f"commit {now[:12]}")
    told = [
        f"commit {version[:12]} {when}" + (" with uncommitted changes" * version.endswith("-dirty"))
        for version, when in ((then, "then"), (now, "now"))
    ]
    return Finding("project", False, ", ".join(told))


def compare_packages(environment: Path) -> Finding:
    """The packages that a fit computes with, and the interpreter; the first difference is named.

    `environment` is the folder with the files of `registry.environment`. Others are counted.
    """
    try:
        then = _versions((environment / "requirements.txt").read_text())
        python = json.loads((environment / "python.json").read_bytes())
    except (OSError, ValueError) as error:
        return Finding("packages", False, f"what was installed is not known: {error}")
    current = environment_files()
    now = _versions(current["requirements.txt"].decode())
    here = json.loads(current["python.json"])
    differ = {name for name in then.keys() | now.keys() if then.get(name) != now.get(name)}
    rest = f"; {len(differ)} of {len(then.keys() | now.keys())} packages differ" if differ else ""
    for name in _MATTERS:
        if name in differ:
            text = f"{name} {then.get(name, 'absent')} then, {now.get(name, 'absent')} now{rest}"
            return Finding("packages", False, text)
    for fact in ("python", "machine"):
        if python.get(fact) != here[fact]:
            text = f"{fact} {python.get(fact)} then, {here[fact]} now{rest}"
            return Finding("packages", False, text)
    return Finding("packages", True, f"those that a fit computes with are the same{rest}")


def compare_lock(recipe: Recipe, settings: Settings) -> Finding:
    """The lock of dependencies, by its sha256."""
    now = lock_digest(settings)
    if now == recipe.lock:
        return Finding("lock", True, f"sha256 {now[:12]}" if now else "none, then and now")
    shown = [digest[:12] or "none" for digest in (recipe.lock, now)]
    return Finding("lock", False, f"sha256 {shown[0]} then, {shown[1]} now")


def compare_declaration(recipe: Recipe, declared: DeclaredModel | None) -> list[Finding]:
    """Parameters and seed against those that are declared now; the recorded ones are used."""
    if declared is None:
        return [Finding("parameters", False, "the model is not declared now")]
    train = declared.spec.train
    found = [_compare_params(recipe, train.params)]
    for subject, then, now in (
        ("seed", recipe.seed, train.seed),
        ("pipeline", recipe.pipeline, train.pipeline),
    ):
        text = f"{then}" if then == now else f"{then} then, {now} is declared now"
        found.append(Finding(subject, then == now, text))
    return found


def compare_cores(recipe: Recipe, settings: Settings) -> Finding:
    """Whether as many cores are there; fewer may add numbers up in another order."""
    if recipe.cores <= settings.core_count:
        return Finding("cores", True, str(recipe.cores))
    return Finding("cores", False, f"{recipe.cores} then, {settings.core_count} now")


def _compare_params(recipe: Recipe, declared: Mapping[str, object]) -> Finding:
    if recipe.trial:
        # They come from the search: that they are not the declared ones is as it should be.
        return Finding("parameters", True, f"those of the search's best trial: {recipe.params}")
    for name in sorted(recipe.params.keys() | declared.keys()):
        then, now = recipe.params.get(name, "absent"), declared.get(name, "absent")
        if then != now:
            return Finding("parameters", False, f"{name} {then} then, {now} is declared now")
    return Finding("parameters", True, str(recipe.params))


def _versions(lines: str) -> dict[str, str]:
    pairs = (line.partition("==") for line in lines.splitlines())
    return {name: version for name, _, version in pairs if version}
