"""Which models a DAG file makes DAGs for, and what all DAGs of a model have in common."""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import (
    Asset,
    AssetOrTimeSchedule,
    CronDataIntervalTimetable,
    get_parsing_context,
)

from ferryman.catalog import load_catalog
from ferryman.errors import SpecError
from ferryman.settings import load_settings
from ferryman.spec.model import DeclaredModel
from ferryman_airflow.retry_policy import RETRIES, RETRY_DELAY, RETRY_POLICY

# Backfills may reach back to here; with catchup off it starts no run.
_FIRST_DAY = datetime(2000, 1, 1, tzinfo=UTC)
# Started by hand in an emergency, when nobody has the time to find that the DAG was paused.
_ALWAYS_ON = frozenset({"rollback"})
# What is done to the world as it is now: a backfill's days would only repeat it.
_OF_THE_PRESENT = frozenset({"drill", "maintenance"})
NO_BACKFILL = ("manual", "scheduled", "operator_triggered")  # run types


def declared_models(pipeline: str) -> tuple[DeclaredModel, ...]:
    """The models to make `<model>.<pipeline>` for; at a task's start, only the one it belongs to.

    A wrong declaration is left out here and shown by dags/declarations.py.
    """
    zoo = load_settings().zoo
    dag_id = get_parsing_context().dag_id
    if dag_id is None:
        return tuple(load_catalog(zoo).models.values())
    name, _, wanted = dag_id.rpartition(".")
    if wanted != pipeline:
        return ()
    return tuple(load_catalog(zoo, only=name).models.values())


def refuse_wrong_declarations() -> None:
    """Raise one SpecError with every mistake of every wrong declaration, as file:line: text.

    Raised in a DAG file that makes no DAGs, it becomes an import error that Airflow shows on its
    front page and by REST, and no other file's DAGs suffer.
    """
    errors = load_catalog(load_settings().zoo).errors
    if errors:
        names = ", ".join(sorted(errors))
        raise SpecError(
            f"no DAGs for {names}:\n" + "\n".join(errors[name] for name in sorted(errors)),
            remedy="Correct the lines named above; every other model is unaffected.",
        )


def about(  # noqa: PLR0913 - what DAGs differ in
    model: DeclaredModel,
    pipeline: str,
    doc: str | None,
    *,
    hours: int,
    waits: timedelta = timedelta(),
    retries: int = RETRIES,
) -> dict[str, Any]:
    """The arguments that every DAG of a model has: identity, owner, documentation, limits.

    No task may work longer than `hours`; `waits` is how long a run may wait beside that.
    """
    spec = model.spec
    return {
        "dag_id": f"{model.name}.{pipeline}",
        "description": spec.description,
        "doc_md": _documentation(model, doc or ""),
        "tags": sorted({model.name, pipeline, spec.owner.team}),
        "start_date": _FIRST_DAY,
        "catchup": False,
        "allowed_run_types": NO_BACKFILL if pipeline in _OF_THE_PRESENT else None,
        "is_paused_upon_creation": False if pipeline in _ALWAYS_ON else None,
        "dagrun_timeout": timedelta(hours=hours) + waits,
        "default_args": {
            "owner": spec.owner.team,
            "retries": retries,
            "retry_delay": RETRY_DELAY,
            "retry_policy": RETRY_POLICY,
            "execution_timeout": timedelta(hours=hours),
        },
    }


def by_interval(cron: str | None) -> CronDataIntervalTimetable | None:
    """Real data intervals [previous tick, tick) in UTC: a backfill's dates are the data's dates."""
    return CronDataIntervalTimetable(cron, timezone="UTC") if cron else None


def by_asset_or_time(asset: Asset, cron: str | None) -> AssetOrTimeSchedule | list[Asset]:
    """A run for each event of the asset, and at the declared times when there are any."""
    if cron is None:
        return [asset]
    return AssetOrTimeSchedule(timetable=by_interval(cron), assets=[asset])


def _documentation(model: DeclaredModel, doc: str) -> str:
    spec = model.spec
    return (
        f"## {model.name}\n\n{spec.description}\n\n{doc}\n\n"
        f"Owner: {spec.owner.team} ({spec.owner.contact}). "
        f"Declared in `{model.folder.name}/{model.file.name}`."
    )
