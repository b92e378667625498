"""What a run takes from the asset events that started it.

An event's extra may be written by anybody who may post asset events: it is never believed. A
candidate's event only names a training run; what that run made is read from the run store.
"""

import logging
import re
from typing import Any

from pydantic import JsonValue

from ferryman.errors import FerrymanError, SpecError
from ferryman.runtime.files import resolve_inside
from ferryman.runtime.messages import StepResult
from ferryman.runtime.run_store import RESULT, read_result
from ferryman.settings import load_settings
from ferryman_airflow.params import RUN_PARAMS, check_params

logger = logging.getLogger(__name__)

_FROM_REGISTER = ("version", "bundle", "digest", "run_key")
_FROM_TRAIN = ("cutoff", "train_dataset", "eval_dataset", "mlflow_run_id", "code_version", "reason")
_SAID = re.compile(r"[^A-Za-z0-9 .,:;()+#@/=%_<>-]+")


def retrain_params(context: Any, model: str) -> dict[str, JsonValue]:
    """Cut-off and reason of the event with the newest cut-off; nothing without a good event."""
    found: list[dict[str, str]] = []
    for extra in _extras(context, f"{model}.retrain"):
        try:
            reason = _SAID.sub(" ", str(extra.get("reason") or "asked by an asset event"))[:200]
            found.append(check_params({**extra, "reason": reason}, ("cutoff", "reason")))
        except SpecError as error:
            logger.warning("an asset event is ignored: %s", error.text)
    newest = max(found, key=lambda given: given.get("cutoff", ""), default=None)
    return dict(newest) if newest else {}


def candidate_params(context: Any, model: str) -> dict[str, JsonValue]:
    """The newest candidate among the events, or the one of the param `run`.

    Newest is by data cut-off, then by version. SpecError (exit 2) when there is none that our own
    run store knows.
    """
    asked = check_params(context["params"], ("run",)).get("run")
    if asked is not None:
        return {"candidate": read_candidate(model, asked)}
    found = []
    for extra in _extras(context, f"{model}.candidate"):
        try:
            found.append(_believed(model, extra))
        except FerrymanError as error:
            logger.warning("an asset event is ignored: %s", error.text)
    if not found:
        raise SpecError(
            f"no candidate of {model!r} to release",
            remedy=f"Trigger {model}.training, or give the param run=FOLDER of a training run.",
        )
    return {"candidate": max(found, key=lambda one: (str(one["cutoff"]), one["version"]))}


def backfill_params(context: Any, model: str) -> dict[str, JsonValue]:  # noqa: ARG001 - one signature
    """Whether this run restates the past: then it may not ask for a retrain."""
    return {"backfill": _run_type(context) == "backfill"}


def read_candidate(model: str, run: str) -> dict[str, Any]:
    """What a training run registered, from the run store; SpecError (exit 2) if unfinished."""
    root = load_settings().runs_root / model / "training"
    if not re.fullmatch(RUN_PARAMS["run"].pattern, run, re.ASCII):
        raise SpecError(f"{run[:100]!r} is not the name of a run")
    try:
        folder = resolve_inside(root, run)
    except ValueError as error:
        raise SpecError(f"run {run[:100]!r}: {error}") from error
    found: dict[str, StepResult] = {}
    for step in ("train", "register"):
        if not (folder / step / RESULT).is_file():
            raise SpecError(
                f"training run {run[:100]!r} of {model!r} has no finished step {step!r}",
                remedy="Run or repair that training run first.",
            )
        found[step] = read_result(folder / step / RESULT)
    outputs = [(found["register"], _FROM_REGISTER), (found["train"], _FROM_TRAIN)]
    candidate = {key: result.outputs[key] for result, keys in outputs for key in keys}
    # Versions are numbered in the order of registration: the training sequence.
    return {**candidate, "sequence": candidate["version"]}


def _run_type(context: Any) -> str:
    kind = context["dag_run"].run_type
    return str(getattr(kind, "value", kind))


def _believed(model: str, extra: dict[str, Any]) -> dict[str, Any]:
    candidate = read_candidate(model, str(extra.get("run")))
    for key in ("version", "digest"):
        if key in extra and extra[key] != candidate[key]:
            raise SpecError(f"its {key} differs from what run {extra.get('run')!r} registered")
    return candidate


def _extras(context: Any, asset_name: str) -> list[dict[str, Any]]:
    """The extras of the triggering events of one asset; their order means nothing."""
    events = context.get("triggering_asset_events") or {}
    return [
        dict(event.extra or {})
        for asset in events
        if getattr(asset, "name", None) == asset_name
        for event in events[asset]
    ]
