"""A DAG run in this process: Airflow's own API and state machine, with no scheduler beside it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any


class OneProcessRun:
    """A run that a user started by REST; `advance` does what the scheduler and a worker would."""

    inline_triggers = True  # else a task that waits is left to a triggerer

    def __init__(self, client: Any, dag: Any, user: dict[str, str], conf: dict[str, Any]) -> None:
        self.client = client
        self.dag = dag
        due = datetime.now(UTC) - timedelta(seconds=1)
        body = {"logical_date": None, "run_after": due.isoformat(), "conf": conf}
        answer = client.post(f"/api/v2/dags/{dag.dag_id}/dagRuns", headers=user, json=body)
        assert answer.status_code == 200, answer.text
        self.run_id = str(answer.json()["dag_run_id"])
        self._begin()

    def advance(self, limit: int = 40) -> dict[str, str]:
        """Run what can be run, until all ended or somebody is asked; the states by task."""
        for _ in range(limit):
            before, ready = self.states(), self._ready()
            if not ready and self.states() == before:  # a failure is handed down task by task
                return before
            for instance in ready:
                self._run(instance)
        raise AssertionError(self.states())

    def states(self) -> dict[str, str]:
        """State by task."""
        return {one.task_id: str(one.state or "none") for one in self._instances()}

    def address(self, task: str) -> str:
        """Where REST knows a task of this run."""
        return f"/api/v2/dags/{self.dag.dag_id}/dagRuns/{self.run_id}/taskInstances/{task}"

    def question(self, user: dict[str, str], task: str = "approve") -> dict[str, Any]:
        """What the approver is shown."""
        answer = self.client.get(f"{self.address(task)}/-1/hitlDetails", headers=user)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def answer(self, user: dict[str, str], option: str, reason: str | None = None) -> Any:
        """Answer the question as a user does."""
        body = {"chosen_options": [option], "params_input": {"reason": reason}}
        return self.client.patch(
            f"{self.address('approve')}/-1/hitlDetails", headers=user, json=body
        )

    def clear(self, user: dict[str, str], *tasks: str, downstream: bool = True) -> None:
        """Clear tasks as a user does."""
        body = {
            "dry_run": False,
            "only_failed": False,
            "dag_run_id": self.run_id,
            "task_ids": list(tasks),
            "include_downstream": downstream,
            "reset_dag_runs": True,
        }
        path = f"/api/v2/dags/{self.dag.dag_id}/clearTaskInstances"
        answer = self.client.post(path, headers=user, json=body)
        assert answer.status_code == 200, answer.text
        self._begin()

    def _begin(self) -> None:
        self._with_run(lambda run, _: setattr(run, "state", "running"))

    def _ready(self) -> list[Any]:
        def schedule(run: Any, session: Any) -> list[Any]:
            ready, _ = run.update_state(session=session, execute_callbacks=False)
            for one in ready:
                one.try_number += 1
                one.state = "scheduled"
            session.flush()
            return [one for one in run.get_task_instances(session=session) if _waits(one)]

        found: list[Any] = self._with_run(schedule)
        return found

    def _run(self, instance: Any) -> None:
        from airflow.sdk.definitions.dag import _run_task

        task = self.dag.task_dict[instance.task_id]
        _run_task(ti=instance, task=task, run_triggerer=self.inline_triggers)

    def _instances(self) -> list[Any]:
        return list(self._with_run(lambda run, session: run.get_task_instances(session=session)))

    def _with_run(self, use: Callable[[Any, Any], Any]) -> Any:
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            query = select(DagRun).where(
                DagRun.dag_id == self.dag.dag_id, DagRun.run_id == self.run_id
            )
            run = session.scalars(query).one()
            run.dag = self._serialized(session)
            return use(run, session)

    def _serialized(self, session: Any) -> Any:
        from airflow.models.serialized_dag import SerializedDagModel

        return SerializedDagModel.get_dag(self.dag.dag_id, session=session)


class EventRun(OneProcessRun):
    """A run that asset events started: those of the asset that the DAG is scheduled by."""

    def __init__(
        self, client: Any, dag: Any, user: dict[str, str], *extras: dict[str, Any]
    ) -> None:
        super().__init__(client, dag, user, {})
        self._with_run(lambda run, session: self._consume(run, session, extras))

    def _consume(self, run: Any, session: Any, extras: tuple[dict[str, Any], ...]) -> None:
        from airflow.models.asset import AssetEvent, AssetModel, DagScheduleAssetReference
        from sqlalchemy import select

        mine = DagScheduleAssetReference.dag_id == self.dag.dag_id
        query = select(AssetModel).join(DagScheduleAssetReference).where(mine)
        asset = session.scalars(query).one()
        run.run_type = "asset_triggered"
        for extra in extras:
            event = AssetEvent(asset_id=asset.id, extra=extra)
            session.add(event)
            run.consumed_asset_events.append(event)


def _waits(instance: Any) -> bool:
    return str(instance.state) == "scheduled"
