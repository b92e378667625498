"""Decides whether what monitoring found in a window calls for a retrain, and is worth one."""

from datetime import datetime
from typing import Any, cast

from pydantic import Field, JsonValue

from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Head
from ferryman.monitoring.decisions import Decisions
from ferryman.monitoring.retraining import Champion, Decision, Evidence, decide, wants_probe
from ferryman.runtime.messages import StepResult
from ferryman.spec.windows import Window, format_time
from ferryman.steps.champion_recipe import champion_recipe
from ferryman.steps.contract import StepContext, StepParams
from ferryman.steps.retrain_probe import probe_retrain

_SHORT = 12  # of a digest, for people


class Params(StepParams):
    """What kind of run asks; `reason` is a person's, who asks by hand.

    `actor` is who that is, where it is not the installation's own user.
    """

    backfill: bool = False
    reason: str | None = Field(default=None, min_length=1, max_length=200)
    actor: str | None = Field(default=None, min_length=1, max_length=200)


def run(context: StepContext) -> StepResult:
    """Decide and store the decision; a backfill only looks at the past and never asks.

    The decision of a window that is decided again on other evidence replaces its own. Where it is
    about to ask, a probe is made first.
    """
    if cast(Params, context.params).backfill:
        return context.result(
            text="a backfill never asks for a retrain",
            verdict="not_needed",
            outputs={"retrain": False, "reason": "backfill", "cutoff": _cutoff(context)},
        )
    store = Decisions(context.monitoring_root)
    decision = _decided(context, store)
    file = store.write(context.model.name, context.window, decision)
    probe = decision.probe or {}
    return context.result(
        text=("retrain: " if decision.retrain else "no retrain: ") + decision.reason,
        verdict="done" if decision.retrain else "not_needed",
        outputs=_outputs(context, decision),
        metrics={name: probe.get(name) for name in ("estimate", "low", "high", "cpu_seconds")}
        if probe
        else {},
        artifacts={"decision": str(file)},
    )


def _decided(context: StepContext, store: Decisions) -> Decision:
    """The decision; made a second time where the first one wants a probe."""
    found, spec = context.earlier("monitor").outputs, context.spec.monitor
    head = Ledger(context.settings.ledger_url).head(context.model.name)
    champion = _champion(found.get("champion"))
    evidence = _evidence(context, found, champion, head)
    history = store.read(context.model.name)
    decision = decide(spec, context.window, champion, evidence, history)
    if spec.retrain.probe is None or head is None or not wants_probe(spec, decision):
        return decision
    if champion is None or head.version != champion.version:
        return decision  # another version serves since monitor looked: it is no rival of this one
    probe = probe_retrain(context, spec.retrain.probe, head, context.window.end)
    return decide(spec, context.window, champion, evidence, history, probe=probe)


def _outputs(context: StepContext, decision: Decision) -> dict[str, JsonValue]:
    outputs: dict[str, JsonValue] = {
        "retrain": decision.retrain,
        "reason": decision.reason,
        "causes": list(decision.causes),
        "cutoff": _cutoff(context),
        "decision": context.window.key,
    }
    if decision.probe is not None:
        outputs["probe"] = str(decision.probe["outcome"])
    return outputs


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


def _evidence(
    context: StepContext,
    found: dict[str, JsonValue],
    champion: Champion | None,
    head: Head | None,
) -> Evidence:
    quality = cast(dict[str, Any], found["champion_quality"])
    calibration = cast(dict[str, Any], quality["calibration"] or {})
    estimate = cast(dict[str, Any], found.get("estimate") or {})
    drift = cast(dict[str, Any], found.get("drift") or {})
    drifted = cast(list[str], found["drifted"])
    findings = [one for one in drift.get("findings", []) if one["name"] not in drifted]
    params = cast(Params, context.params)
    wish = params.reason or ""
    return Evidence(
        text=quality["text"],
        value=quality["value"],
        low=quality["low"],
        high=quality["high"],
        shift=calibration.get("difference"),
        shift_low=calibration.get("low"),
        shift_high=calibration.get("high"),
        drifted=tuple(drifted),
        found=tuple(_named(one) for one in findings),
        alarms=tuple(_named(one) for one in findings if one["outcome"] == "alarm"),
        expected=estimate.get("value"),
        expected_low=estimate.get("low"),
        expected_high=estimate.get("high"),
        new_rows=_new_rows(context, champion),
        code=_changed_code(context, head),
        person=(params.actor or context.settings.actor) if wish else "",
        wish=wish,
        report=str(found.get("report") or ""),
    )


def _named(finding: dict[str, Any]) -> str:
    """A finding by its kind and name: what several kinds find of one column is told apart."""
    name, kind = str(finding["name"]), str(finding["kind"])
    return name if name == kind else f"{name} ({kind})"


def _new_rows(context: StepContext, champion: Champion | None) -> int | None:
    """Labels that became known since the champion's data; None where nobody asks for them."""
    if context.spec.monitor.retrain.new_rows is None or champion is None:
        return None
    if champion.cutoff >= context.window.end:
        return 0
    span = Window(start=champion.cutoff, end=context.window.end)
    published = SnapshotStore(context.data_store).published(context.model.name, touching=span)
    inside = [one for one in published if span.start <= one.window.start < span.end]
    return sum(one.entry.labels for one in inside if one.window.end <= span.end)


def _changed_code(context: StepContext, head: Head | None) -> str:
    """How the model's folder differs from the champion's; empty where it does not, or none asks."""
    if not context.spec.monitor.retrain.on_commit or head is None:
        return ""
    recipe = champion_recipe(context, head)
    if recipe is None or recipe.code_digest == context.model.digest:
        return ""
    return (
        f"the model's folder is {context.model.digest[:_SHORT]}, version {head.version} was made "
        f"of {recipe.code_digest[:_SHORT]} (commit {recipe.code_version[:_SHORT]})"
    )
