"""Airflow's own figures for Prometheus, from its tables: runs, tasks, pools, heartbeats.

They need no further service. Counts of runs are of what the tables hold, so `airflow db clean`
lowers them, and those of tasks are of a day: they are gauges. Labels are DAGs, tasks, pools and
states.
"""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

_RECENT = timedelta(days=1)
_MOST = 1000  # samples of one family
_MOST_TASKS = 100_000  # task instances that are looked at

logger = logging.getLogger(__name__)


def airflow_families() -> list[Any]:
    """Gauges; what cannot be read is left out, so that its absence can be seen."""
    found: list[Any] = []
    for read in (_runs, _newest_runs, _tasks, _pools, _heartbeats):
        try:
            found += _read(read)
        except Exception:
            logger.exception("Airflow's %s could not be read", read.__name__.strip("_"))
    return found


def _read(read: Callable[[Any], Iterator[Any]]) -> list[Any]:
    from airflow.utils.session import create_session

    with create_session() as session:
        return list(read(session))


def _gauge(name: str, text: str, *labels: str) -> Any:
    from prometheus_client.metrics_core import GaugeMetricFamily

    return GaugeMetricFamily(f"ferryman_airflow_{name}", text, labels=labels)


def _runs(session: Any) -> Iterator[Any]:
    from airflow.models.dagrun import DagRun
    from sqlalchemy import func, select

    family = _gauge("dag_runs", "Runs in Airflow's tables.", "dag_id", "state")
    query = select(DagRun.dag_id, DagRun.state, func.count()).group_by(DagRun.dag_id, DagRun.state)
    for dag, state, count in session.execute(query.limit(_MOST)):
        family.add_metric([dag, str(state)], count)
    yield family


def _newest_runs(session: Any) -> Iterator[Any]:
    """Of each DAG the run that ended last, and when one last succeeded."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import func, select

    ended = (
        select(DagRun.dag_id, func.max(DagRun.end_date).label("ended"))
        .where(DagRun.start_date.is_not(None))
        .group_by(DagRun.dag_id)
        .limit(_MOST)
        .subquery()
    )
    same = (DagRun.dag_id == ended.c.dag_id) & (DagRun.end_date == ended.c.ended)
    query = select(DagRun.dag_id, DagRun.start_date, DagRun.end_date).join(ended, same)
    seconds = _gauge("last_run_seconds", "How long the run took that ended last.", "dag_id")
    lasted = {dag: (end - start).total_seconds() for dag, start, end in session.execute(query)}
    for dag, value in sorted(lasted.items()):
        seconds.add_metric([dag], value)
    yield seconds
    done = _gauge("last_success_timestamp_seconds", "When a run last succeeded.", "dag_id")
    query = (
        select(DagRun.dag_id, func.max(DagRun.end_date))
        .where(DagRun.state == "success", DagRun.end_date.is_not(None))
        .group_by(DagRun.dag_id)
        .limit(_MOST)
    )
    for dag, moment in session.execute(query):
        done.add_metric([dag], _aware(moment).timestamp())
    yield done


def _tasks(session: Any) -> Iterator[Any]:
    """By indices alone: the whole table is never read, however long Airflow keeps it.

    A task instance's id is a UUID of version 7, which begins with the moment it was made; each try
    has its own.
    """
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.state import State
    from sqlalchemy import func, select

    waiting = [state for state in State.unfinished if state]
    made = (
        select(
            TaskInstance.dag_id,
            TaskInstance.task_id,
            TaskInstance.state,
            TaskInstance.end_date,
            TaskInstance.duration,
        )
        .where(TaskInstance.id >= _first_id(datetime.now(UTC) - _RECENT))
        .order_by(TaskInstance.id.desc())
        # Without a limit SQLite would rather read the whole table in the order of the groups.
        .limit(_MOST_TASKS)
        .subquery()
    ).c
    states = _gauge(
        "task_instances",
        "Task instances that wait or run, and those of a day's newest tries that have ended.",
        "dag_id",
        "state",
    )
    for keys, which in (
        ((TaskInstance.dag_id, TaskInstance.state), TaskInstance.state.in_(waiting)),
        ((made.dag_id, made.state), made.state.is_not(None) & made.state.not_in(waiting)),
    ):
        query = select(*keys, func.count()).where(which).group_by(*keys)
        for dag, state, count in session.execute(query.limit(_MOST)):
            states.add_metric([dag, str(state)], count)
    yield states
    seconds = _gauge(
        "task_seconds", "Mean duration of a task in a day's newest tries.", "dag_id", "task_id"
    )
    own = made.dag_id, made.task_id
    ended = made.end_date.is_not(None) & made.duration.is_not(None)
    query = select(*own, func.avg(made.duration)).where(ended).group_by(*own)
    for dag, task, mean in session.execute(query.limit(_MOST)):
        seconds.add_metric([dag, task], float(mean))
    yield seconds


def _first_id(moment: datetime) -> UUID:
    """The least id that can have been made at a moment."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def _pools(session: Any) -> Iterator[Any]:
    from airflow.models.pool import Pool

    family = _gauge("pool_slots", "Slots of a pool.", "pool", "state")
    for pool, stats in sorted(Pool.slots_stats(session=session).items()):
        for state, count in stats.items():
            family.add_metric([pool, str(state)], float(str(count)))
    yield family


def _heartbeats(session: Any) -> Iterator[Any]:
    """Since the newest heartbeat of each kind of process; none is told where none ever ran."""
    from airflow.jobs.job import Job
    from sqlalchemy import func, select

    family = _gauge("heartbeat_age_seconds", "Since the newest heartbeat.", "process")
    query = (
        select(Job.job_type, func.max(Job.latest_heartbeat))
        .where(Job.job_type.is_not(None), Job.latest_heartbeat.is_not(None))
        .group_by(Job.job_type)
    )
    for kind, moment in session.execute(query.limit(_MOST)):
        age = (datetime.now(UTC) - _aware(moment)).total_seconds()
        family.add_metric([str(kind)], max(0.0, age))
    yield family


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


__all__ = ["airflow_families"]
