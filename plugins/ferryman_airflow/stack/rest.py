"""Airflow's REST API, as far as the stack and its tests need it."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from ferryman.errors import DependencyUnavailable, SpecError

_FINISHED = frozenset({"success", "failed"})
_RETRIED = frozenset({502, 503, 504})


class RunFailed(DependencyUnavailable):
    """A DAG run ended as failed; `task` names the task that failed, `words` what it said."""

    default_remedy = "Read the task's log in Airflow; the run can be cleared there."

    def __init__(self, dag: str, task: str, words: str) -> None:
        super().__init__(f"{dag} / {task}: {words}")
        self.task = task
        self.words = words


class AirflowApi:
    """A logged-in client; every call is bounded in time and tried again while Airflow is busy."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self._login = {"username": user, "password": password}
        self._client = httpx.Client(base_url=url, timeout=30.0)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def call(
        self, method: str, path: str, *, ok: tuple[int, ...] = (200, 201), **options: Any
    ) -> httpx.Response:
        """One request; DependencyUnavailable (exit 6) when it does not go well within a minute."""
        deadline = time.monotonic() + 60
        while True:
            try:
                if "authorization" not in self._client.headers:
                    self._authorize()
                answer = self._client.request(method, path, **options)
            except httpx.TransportError as error:
                if time.monotonic() > deadline:
                    raise DependencyUnavailable(f"Airflow at {self.url}: {error}") from error
            else:
                if answer.status_code in ok:
                    return answer
                if not _passes(answer) or time.monotonic() > deadline:
                    raise DependencyUnavailable(
                        f"Airflow: {method} {path}: {answer.status_code} {answer.text[:500]}"
                    )
            time.sleep(0.5)

    def health(self) -> dict[str, str]:
        """The state of each component by name, empty while there is no answer."""
        try:
            answer = self._client.get("/api/v2/monitor/health", timeout=5)
            parts = answer.json() if answer.status_code == httpx.codes.OK else {}
        except httpx.TransportError:
            return {}
        return {name: str(part.get("status")) for name, part in parts.items() if part}

    def has_dag(self, dag_id: str) -> bool:
        """Whether Airflow has read that DAG."""
        return self.call("GET", f"/api/v2/dags/{dag_id}", ok=(200, 404)).status_code != 404

    def make_pool(self, name: str, slots: int, description: str) -> None:
        """Have a pool; one of that name keeps the slots that somebody gave it."""
        body = {"name": name, "slots": slots, "description": description}
        self.call("POST", "/api/v2/pools", json=body, ok=(201, 409))

    def unpause(self, dag_id: str) -> None:
        """Let a DAG run by itself."""
        self.call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> bool:
        """Start a run, or find that this run id exists already; whether it is new."""
        # Airflow compares run_after with SQLite's clock, which has whole seconds only: a run that
        # is due "now" would wait for the next one.
        due = datetime.now(UTC) - timedelta(seconds=1)
        body = {
            "dag_run_id": run_id,
            "logical_date": None,
            "run_after": due.isoformat(),
            "conf": dict(conf),
        }
        path = f"/api/v2/dags/{dag_id}/dagRuns"
        answer = self.call("POST", path, json=body, ok=(200, 201, 400, 409, 422))
        if answer.status_code in (400, 422):
            raise SpecError(f"{dag_id}: Airflow refuses the run: {answer.text[:500]}")
        return answer.status_code != 409

    def clear(self, dag_id: str, run_id: str) -> None:
        """Run the failed tasks of a run again."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/clear"
        self.call("POST", path, json={"dry_run": False, "only_failed": True})

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """One run."""
        return dict(self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}").json())

    def runs(self, dag_id: str, **query: Any) -> list[dict[str, Any]]:
        """Runs of a DAG, newest first."""
        query = {"order_by": "-run_after", "limit": 50, **query}
        answer = self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns", params=query)
        return list(answer.json()["dag_runs"])

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run, in the order in which they started."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found = list(self.call("GET", path).json()["task_instances"])
        return sorted(found, key=lambda task: str(task["start_date"] or "~"))

    def result(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """A task's step result, from its XCom; empty where there is none."""
        task = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        path = f"{task}/xcomEntries/return_value"
        answer = self.call("GET", path, params={"stringify": False}, ok=(200, 404))
        return dict(answer.json()["value"]) if answer.status_code != 404 else {}

    def log(self, dag_id: str, run_id: str, task_id: str, attempt: int) -> list[str]:
        """The lines of a task's log."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        answer = self.call("GET", path, params={"full_content": True}, ok=(200, 404))
        content = answer.json().get("content", []) if answer.status_code != 404 else []
        return [_words(line) for line in content]

    def wait(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout: float,
        seen: Callable[[dict[str, Any]], None] | None = None,
        until: str | None = None,
    ) -> dict[str, Any]:
        """Wait for a run to end well, or for its task `until`; `seen` hears of each that ended.

        Raises RunFailed with the failed task's own words, DependencyUnavailable after `timeout` s.
        """
        deadline = time.monotonic() + timeout
        told: set[str] = set()
        while True:
            run = self.run(dag_id, run_id)
            for task in self.tasks(dag_id, run_id):
                ended = task["state"] in ("success", "failed", "skipped", "upstream_failed")
                if ended and task["task_id"] not in told:
                    told.add(task["task_id"])
                    if seen is not None:
                        seen(task)
                    if task["task_id"] == until and task["state"] == "success":
                        return run
            if run["state"] in _FINISHED:
                break
            if time.monotonic() > deadline:
                raise DependencyUnavailable(
                    f"{dag_id} run {run_id} is still {run['state']!r} after {timeout:.0f} s",
                    remedy="Look at the scheduler's log in .airflow/logs/stack.",
                )
            time.sleep(0.25)
        if run["state"] == "failed":
            raise RunFailed(dag_id, *self._why(dag_id, run_id))
        return run

    def _authorize(self) -> None:
        answer = self._client.post("/auth/token", json=self._login)
        if answer.status_code not in (200, 201):
            raise DependencyUnavailable(
                f"Airflow refuses the login: {answer.status_code} {answer.text[:200]}",
                remedy="Is it another Airflow that answers at that port?",
            )
        self._client.headers["authorization"] = f"Bearer {answer.json()['access_token']}"

    def _why(self, dag_id: str, run_id: str) -> tuple[str, str]:
        for task in self.tasks(dag_id, run_id):
            if task["state"] != "failed":
                continue
            lines = self.log(dag_id, run_id, task["task_id"], task["try_number"])
            told = [line for line in lines if "failed (exit" in line or line.startswith("Remedy:")]
            words = " ".join(told[-2:]) or "; ".join(lines)[-500:]
            return task["task_id"], words
        return "?", f"run {run_id} failed"


def _passes(answer: httpx.Response) -> bool:
    """Whether the same request may go well later; a locked SQLite is told as a 500, undone."""
    locked = answer.status_code == 500 and '"Database error"' in answer.text
    return locked or answer.status_code in _RETRIED


def _words(line: Any) -> str:
    """A log line's text, with the exception that it tells of."""
    if not isinstance(line, dict):
        return str(line)
    errors = [f"{one['exc_type']}: {one['exc_value']}" for one in line.get("error_detail") or []]
    return " ".join([str(line.get("event", "")), *errors])
