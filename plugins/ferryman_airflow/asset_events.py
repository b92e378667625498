"""What a run takes from the asset events that started it.

An event's extra may be written by anybody who may post asset events: it is never believed. A
candidate's event only names a training run; what that run made is read from the run store.
"""

import logging
import re
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ferryman.errors import FerrymanError, SpecError
from ferryman.runtime.files import read_json, resolve_inside, write_json
from ferryman.runtime.messages import StepResult
from ferryman.runtime.run_store import RESULT, read_result
from ferryman.settings import load_settings
from ferryman.spec.windows import format_time
from ferryman_airflow.params import RUN_PARAMS, check_params
from ferryman_airflow.step_requests import window_of

logger = logging.getLogger(__name__)

_FROM_REGISTER = ("version", "bundle", "digest", "run_key")
_FROM_TRAIN = ("cutoff", "train_dataset", "eval_dataset", "mlflow_run_id", "code_version", "reason")
NOBODY = "schedule"  # who asked where no person did
_REQUESTED = "requested_by.json"
_ASKED = {"asset_triggered": "event", "scheduled": "schedule", "backfill": "backfill"}
_SAID = re.compile(r"[^A-Za-z0-9 .,:;()+#@/=%_<>-]+")


def retrain_params(context: Any, model: str) -> dict[str, JsonValue]:
    """Who asks for the training, with the cut-off and the reason that come with it.

    Of several events the one with the newest cut-off; a backfill trains as of its interval's end.
    A person is named as Airflow knows them.
    """
    asked = _ASKED.get(_run_type(context), "person")
    if asked == "backfill" and not context["params"].get("pin"):
        day = format_time(window_of(context).end)
        return {"asked": asked, "cutoff": day, "reason": f"backfill as of {day}"}
    person = triggered_by(context) if asked == "person" else ""
    named = {"actor": person} if person else {}
    return {"asked": asked, **named, **_newest_event(context, model)}


def _newest_event(context: Any, model: str) -> dict[str, str]:
    found: list[dict[str, str]] = []
    for extra in _extras(context, f"{model}.retrain"):
        try:
            reason = _SAID.sub(" ", str(extra.get("reason") or "asked by an asset event"))[:200]
            found.append(check_params({**extra, "reason": reason}, ("cutoff", "reason")))
        except SpecError as error:
            logger.warning("an asset event is ignored: %s", error.text)
    return max(found, key=lambda given: given.get("cutoff", ""), default={})


def candidate_params(context: Any, model: str) -> dict[str, JsonValue]:
    """The newest candidate among the events, or the one of the param `run`.

    Newest is by data cut-off, then by version; one that a backfill made counts after all others,
    and is told as such. SpecError (exit 2) when there is none that our own run store knows.
    """
    run, candidate = _candidate(context, model)
    if context["params"].get("run") is None and _asked_by(model, run) == "backfill":
        return {"candidate": candidate, "backfill": True}
    return {"candidate": candidate}


def proposal_params(context: Any, model: str) -> dict[str, JsonValue]:
    """Who asks for the release, and the training run that made the candidate.

    It is asked for by whoever started this run, else by whoever started the training; by NOBODY
    where a schedule or an event started both.
    """
    run, _ = _candidate(context, model)
    file = _training_run(model, run) / _REQUESTED
    told = read_json(file) if file.is_file() else {}
    requester = triggered_by(context) or str(told.get("user") or NOBODY)
    return {"requester": requester, "training_run": run}


def triggered_by(context: Any) -> str:
    """The name of the person who started this run; empty where nobody did."""
    return str(getattr(context["dag_run"], "triggering_user_name", None) or "")


def record_requester(folder: Path, context: Any) -> None:
    """Keep in a run's folder who started the run, for what later builds on it."""
    person = triggered_by(context)
    if person:
        write_json(folder / _REQUESTED, {"user": person})


def backfill_params(context: Any, model: str) -> dict[str, JsonValue]:  # noqa: ARG001 - one signature
    """Whether this run restates the past: then it may not ask for a retrain."""
    return {"backfill": _run_type(context) == "backfill"}


def wish_params(context: Any, model: str) -> dict[str, JsonValue]:
    """Whether this run restates the past, and the person who started it, whose reason it may be."""
    person = triggered_by(context)
    return {**backfill_params(context, model), **({"actor": person} if person else {})}


def read_candidate(model: str, run: str) -> dict[str, Any]:
    """What a training run registered, from the run store; SpecError (exit 2) if unfinished."""
    folder = _training_run(model, run)
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


def _candidate(context: Any, model: str) -> tuple[str, dict[str, Any]]:
    """The training run whose candidate this run releases, and the candidate."""
    asked = check_params(context["params"], ("run",)).get("run")
    if asked is not None:
        return asked, read_candidate(model, asked)
    found = []
    for extra in _extras(context, f"{model}.candidate"):
        try:
            found.append((str(extra.get("run")), _believed(model, extra)))
        except FerrymanError as error:
            logger.warning("an asset event is ignored: %s", error.text)
    if not found:
        raise SpecError(
            f"no candidate of {model!r} to release",
            remedy=f"Trigger {model}.training, or give the param run=FOLDER of a training run.",
        )
    asked_for = [one for one in found if _asked_by(model, one[0]) != "backfill"]
    return max(asked_for or found, key=lambda one: (str(one[1]["cutoff"]), one[1]["version"]))


def _asked_by(model: str, run: str) -> str:
    """Who asked for a finished training, as the step `train` was told."""
    outputs = read_result(_training_run(model, run) / "train" / RESULT).outputs
    return str(outputs.get("asked", "person"))


def _training_run(model: str, run: str) -> Path:
    """The folder of a training run; SpecError (exit 2) where the name leads anywhere else."""
    if not re.fullmatch(RUN_PARAMS["run"].pattern, run, re.ASCII):
        raise SpecError(f"{run[:100]!r} is not the name of a run")
    try:
        return resolve_inside(load_settings().runs_root / model / "training", run)
    except ValueError as error:
        raise SpecError(f"run {run[:100]!r}: {error}") from error


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
