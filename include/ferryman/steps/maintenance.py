"""Removes what no kept version, run, release, pin or legal hold needs; by default it only says so.

The prediction log is put in order besides, which removes no row of it; runs of MLflow that nobody
goes on with are marked as failed or killed. What is in use
is asked of registry and ledger; where either gives no answer, nothing is removed. Bundles are never
removed, but for those of killed drills; what the ledger protects is looked after (see guard) before
anything goes.
"""

import logging
import shutil
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from ferryman.data.versions.retention import GRACE, Item, Plan, Retention
from ferryman.errors import DependencyUnavailable, IntegrityBroken
from ferryman.ledger.ledger import Ledger
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.runtime.files import write_json
from ferryman.runtime.messages import StepResult
from ferryman.runtime.old_runs import old_drills, old_runs, old_scratch, remove_run
from ferryman.runtime.run_store import RESULT, read_result, run_folder
from ferryman.steps.contract import StepContext, StepParams
from ferryman.steps.guard import guard
from ferryman.steps.log_care import LogCare
from ferryman.steps.old_outputs import OldOutputs
from ferryman.steps.unfinished_runs import end_unfinished

_SHOWN = 200  # things that go, in the result; the report has all

logger = logging.getLogger(__name__)


class Params(StepParams):
    """`apply` removes; without it the declaration's data.retention.apply says whether to."""

    apply: bool | None = None


def run(context: StepContext) -> StepResult:
    """Say what goes and what stays, and why; remove it where that is asked for.

    Raises DependencyUnavailable (exit 6), with nothing removed, where registry, ledger or store
    cannot be asked.
    """
    given = context.params
    asked = given.apply if isinstance(given, Params) else None
    spec, now = context.spec.data.retention, datetime.now(UTC)
    apply = spec.apply if asked is None else asked
    retention = Retention(context.data_store, context.model.name, spec, now)

    def in_use() -> dict[str, str]:
        return _in_use(context)

    in_use()  # where nobody answers, nothing is touched
    found = guard(context.settings, context.model.name, context.connections)
    ended = end_unfinished(context, now - GRACE)
    log = LogCare(context, now)
    plan = retention.remove(in_use) if apply else retention.plan(in_use())
    logged = [*log.outdated(apply=apply), *log.outdated_labels(apply=apply)]
    merged = log.put_in_order()
    going = _old_runs(context, now - spec.runs)
    outputs = OldOutputs(context, now, going)
    made = [*outputs.backfills(apply=apply), *outputs.scores(apply=apply)]
    made += outputs.lineage(apply=apply)
    runs = _remove_runs(going, now - spec.runs, apply=apply)
    leftovers = _sweep(context, now - GRACE, apply=apply)
    told = [*plan.goes, *logged, *made, *runs, *(_leftover(name) for name in leftovers)]
    plan.stays += [*log.stays, *outputs.stays]
    report = _write_report(context, plan, told, apply=apply)
    return context.result(
        text="; ".join([_text(told, plan, apply=apply), *_ended(ended), *found]),
        verdict="done",
        outputs={
            "applied": apply,
            "goes": [_shown(item) for item in told[:_SHOWN]],
            "stays": dict(plan.reasons()),
            "report": str(report),
            **({"found": list(found)} if found else {}),
        },
        metrics={
            "goes": len(told),
            "stays": len(plan.stays),
            "bytes": _bytes(told),
            "merged": merged,
            "ended": ended,
        },
        artifacts={"report": str(report)},
    )


def _in_use(context: StepContext) -> dict[str, str]:
    """The dataset versions of registered model versions and of the ledger's operations."""
    settings, model = context.settings, context.model.name
    history = Ledger(settings.ledger_url).history(model)
    versions = MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts).versions(model)
    if history and not versions:
        raise DependencyUnavailable(
            f"the registry knows no version of {model!r}, and the ledger {len(history)} "
            "transitions: one of them is not the right one, so nothing is removed",
            remedy="Check FERRYMAN_MLFLOW_URI and FERRYMAN_LEDGER_URL; restore what was lost.",
        )
    needed: dict[str, str] = {}
    for op in history:
        for name in (op.candidate.train_dataset, op.candidate.eval_dataset):
            needed[name] = f"in the ledger #version {op.candidate.version}"
    for version in versions:
        for role in ("train", "eval"):
            name = version.tags.get(f"ferryman.{role}_dataset", "")
            needed[name] = f"of a registered model #version {version.version}"
    needed.pop("", None)
    return needed


def _old_runs(context: StepContext, before: datetime) -> list[Path]:
    """The folders of runs that go; never this run's own.

    The training of a registered version stays, so that its lineage can be told; that of a protected
    one, too, where somebody has deleted it in the registry.
    """
    settings, model = context.settings, context.model.name
    needed = {Path(context.request.run_uri)}
    for version in MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts).versions(model):
        run_id = version.tags.get("ferryman.run_id", "")
        needed.add(run_folder(settings.runs_root, model, "training", run_id))
    limit = min(before, datetime.now(UTC) - GRACE)
    found = old_runs(settings.runs_root, model, limit)
    kept = {one.digest for one in Ledger(settings.ledger_url).protected(model)}
    return [
        folder
        for folder in found
        if folder not in needed and _registered_digest(folder) not in kept
    ]


def _remove_runs(found: list[Path], before: datetime, *, apply: bool) -> list[Item]:
    items = [
        Item("run", f"{folder.parent.name}/{folder.name}", _why_run(before)) for folder in found
    ]
    if apply:
        for folder in found:
            remove_run(folder)
    return items


def _registered_digest(run: Path) -> str:
    """The digest of the bundle that a training run registered; "" of any other run."""
    file = run / "register" / RESULT
    try:
        return str(read_result(file).outputs.get("digest", "")) if file.is_file() else ""
    except IntegrityBroken as error:
        logger.warning("%s is kept by nothing: %s", run, error.text)
        return ""


def _sweep(context: StepContext, before: datetime, *, apply: bool) -> list[str]:
    """What killed writers left: in the data's place, of drills, among the temporary files."""
    drills = old_drills(context.settings.bundles_root, context.model.name, before)
    scratch = [*old_scratch(before), *drills]
    if apply:
        for folder in scratch:
            shutil.rmtree(folder, ignore_errors=True)
    return [*context.data_store.sweep(before, remove=apply), *(str(path) for path in scratch)]


def _why_run(before: datetime) -> str:
    return f"nothing written since {before:%Y-%m-%d} (data.retention.runs)"


def _leftover(name: str) -> Item:
    return Item("temporary file", name, "of a writer that was killed")


def _write_report(context: StepContext, plan: Plan, told: list[Item], *, apply: bool) -> Path:
    file = context.folder / "retention.json"
    write_json(
        file,
        {
            "applied": apply,
            "goes": [_shown(item) for item in told],
            "stays": [_shown(item) for item in plan.stays],
        },
    )
    return file


def _shown(item: Item) -> dict[str, JsonValue]:
    return {"kind": item.kind, "name": item.name, "why": item.why, "bytes": item.size}


def _ended(count: int) -> list[str]:
    return [f"{count} unfinished training run(s) ended in MLflow"] if count else []


def _bytes(items: list[Item]) -> int:
    return sum(item.size for item in items)


def _text(told: list[Item], plan: Plan, *, apply: bool) -> str:
    kinds = sorted({item.kind for item in told})
    counts = ", ".join(f"{sum(item.kind == kind for item in told)} {kind}(s)" for kind in kinds)
    what = f"{counts or 'nothing'}, {_bytes(told) / 1e6:.1f} MB"
    stays = f"{len(plan.stays)} things stay"
    if apply:
        return f"removed {what}; {stays}"
    return f"would remove {what}; {stays}; nothing was removed (param apply: true does it)"
