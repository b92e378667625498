"""Loads the user's pipeline.py and calls its build function, with errors that name the line."""

import hashlib
import importlib.machinery
import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from ferryman.errors import FerrymanError, SpecError
from ferryman.spec.model import DeclaredModel
from ferryman.training.trainer import FitPlan

Result = TypeVar("Result")


class _SourceLoader(importlib.machinery.SourceFileLoader):
    """Reads the source only: no __pycache__ beside a declaration, and never a stale one."""

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """Refuse: without a time stamp the import system leaves bytecode alone."""
        raise OSError(f"no bytecode for {path}")


def build_estimator(declared: DeclaredModel, plan: FitPlan) -> Any:
    """The unfitted estimator that the plan's FILE:FUNCTION makes of (params, seed).

    Raises SpecError (exit 2) with file and line for whatever goes wrong in the user's file.
    """
    file_name, _, function_name = plan.pipeline.partition(":")
    file = declared.folder / file_name
    module = blamed_on(file, lambda: _import(file))
    build = getattr(module, function_name, None)
    if not callable(build):
        raise SpecError(
            f"{file}:1: no function {function_name!r}",
            remedy=f"Define {function_name}(params, seed) in {file_name}.",
        )
    estimator = blamed_on(file, lambda: build(dict(plan.params), plan.seed))
    if not hasattr(estimator, "fit"):
        line = build.__code__.co_firstlineno if hasattr(build, "__code__") else 1
        kind = type(estimator).__name__
        raise SpecError(
            f"{file}:{line}: {function_name} returned {kind}, which has no fit()",
            remedy="Return an unfitted scikit-learn estimator, or a compiled Keras model.",
        )
    return estimator


def blamed_on(file: Path, call: Callable[[], Result]) -> Result:
    """Run user code (or a library on its behalf); any error becomes SpecError with file:line."""
    try:
        return call()
    except FerrymanError:
        raise
    except SyntaxError as error:
        raise SpecError(f"{error.filename or file}:{error.lineno or 1}: {error.msg}") from error
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno or 1 for frame in frames if Path(frame.filename) == file]
        text = str(error).strip().split("\n")[0][:500]
        raise SpecError(
            f"{file}:{lines[-1] if lines else 1}: {type(error).__name__}: {text}",
            remedy="Correct the pipeline; the log above holds the whole traceback.",
        ) from error


def _import(file: Path) -> ModuleType:
    # Two models may both have a pipeline.py, and a file may change in a long-lived process.
    content = hashlib.sha256(str(file).encode() + b"\0" + file.read_bytes()).hexdigest()
    name = f"ferryman_pipeline_{content[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    loader = _SourceLoader(name, str(file))
    spec = importlib.util.spec_from_file_location(name, file, loader=loader)
    if spec is None:
        raise SpecError(f"{file}:1: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
