"""Airflow's own figures for Prometheus, from its tables: runs, tasks, pools, heartbeats.

They need no further service. Counts are of what the tables hold, so `airflow db clean` lowers them,
and they are gauges. Labels are DAGs, tasks, pools and states.
"""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

_RECENT = timedelta(days=1)
_MOST = 1000  # samples of one family

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
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import func, select

    states = _gauge("task_instances", "Task instances in Airflow's tables.", "dag_id", "state")
    keys = TaskInstance.dag_id, TaskInstance.state
    for dag, state, count in session.execute(
        select(*keys, func.count()).where(TaskInstance.state.is_not(None)).group_by(*keys)
    ):
        states.add_metric([dag, str(state)], count)
    yield states
    seconds = _gauge(
        "task_seconds", "Mean duration of a task's tries of the last day.", "dag_id", "task_id"
    )
    own = TaskInstance.dag_id, TaskInstance.task_id
    query = (
        select(*own, func.avg(TaskInstance.duration))
        .where(TaskInstance.end_date >= datetime.now(UTC) - _RECENT)
        .where(TaskInstance.duration.is_not(None))
        .group_by(*own)
        .limit(_MOST)
    )
    for dag, task, mean in session.execute(query):
        seconds.add_metric([dag, task], float(mean))
    yield seconds


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
