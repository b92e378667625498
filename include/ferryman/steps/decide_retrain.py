"""Decides whether what monitoring found in a window calls for a retrain."""

from datetime import datetime
from typing import Any, cast

from pydantic import JsonValue

from ferryman.monitoring.decisions import Decisions
from ferryman.monitoring.retraining import Champion, Decision, Evidence, decide
from ferryman.runtime.messages import StepResult
from ferryman.spec.windows import format_time
from ferryman.steps.contract import StepContext, StepParams


class Params(StepParams):
    """What kind of run asks."""

    backfill: bool = False


def run(context: StepContext) -> StepResult:
    """Decide and store the decision; a backfill only looks at the past and never asks.

    The decision of a window that is decided again on other evidence replaces its own.
    """
    if cast(Params, context.params).backfill:
        return context.result(
            text="a backfill never asks for a retrain",
            verdict="not_needed",
            outputs={"retrain": False, "reason": "backfill", "cutoff": _cutoff(context)},
        )
    found = context.earlier("monitor").outputs
    store = Decisions(context.settings.monitoring_root)
    decision = decide(
        context.spec.monitor,
        context.window,
        _champion(found.get("champion")),
        _evidence(found),
        store.read(context.model.name),
    )
    file = store.write(context.model.name, context.window, decision)
    return context.result(
        text=("retrain: " if decision.retrain else "no retrain: ") + decision.reason,
        verdict="done" if decision.retrain else "not_needed",
        outputs=_outputs(context, decision),
        artifacts={"decision": str(file)},
    )


def _outputs(context: StepContext, decision: Decision) -> dict[str, JsonValue]:
    return {
        "retrain": decision.retrain,
        "reason": decision.reason,
        "causes": list(decision.causes),
        "cutoff": _cutoff(context),
    }


def _cutoff(context: StepContext) -> str:
    """What a retrain may see: everything that was known when the window ended."""
    return format_time(context.window.end)


def _champion(found: JsonValue) -> Champion | None:
    if found is None:
        return None
    entry = cast(dict[str, Any], found)
    return Champion(
        version=int(entry["version"]),
        cutoff=datetime.fromisoformat(entry["cutoff"]),
        gate_value=entry["gate_value"],
    )


def _evidence(found: dict[str, JsonValue]) -> Evidence:
    quality = cast(dict[str, Any], found["champion_quality"])
    calibration = cast(dict[str, Any], quality["calibration"] or {})
    return Evidence(
        text=quality["text"],
        value=quality["value"],
        low=quality["low"],
        high=quality["high"],
        shift=calibration.get("difference"),
        shift_low=calibration.get("low"),
        shift_high=calibration.get("high"),
        drifted=tuple(cast(list[str], found["drifted"])),
    )
