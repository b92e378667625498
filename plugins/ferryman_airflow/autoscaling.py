"""The DAGs that keep servers at as many replicas as their load asks for."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from airflow.sdk import BaseOperator, CronTriggerTimetable, get_parsing_context
from airflow.sdk.exceptions import AirflowSkipException

from ferryman.errors import FerrymanError, LostRace
from ferryman.settings import load_settings
from ferryman.spec.servers import AutoscalingSpec, load_servers
from ferryman_airflow.alerts import alert
from ferryman_airflow.declarations import NO_BACKFILL

_FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
# Of each minute: the rest is Airflow's, to end this run and to start the next one.
_SECONDS = 50.0
_LIMIT = timedelta(minutes=5)


class ScaledServer(NamedTuple):
    """A declared server that Airflow scales."""

    name: str
    autoscaling: AutoscalingSpec


def autoscaled_servers() -> tuple[ScaledServer, ...]:
    """The servers to make `servers.<name>.autoscaling` for; at a task's start, only its own.

    A cluster scales by itself. Raises DeclarationError where servers.yaml is wrong: in the one DAG
    file that reads it, that takes away these DAGs only, and Airflow shows file and line.
    """
    dag_id = get_parsing_context().dag_id
    return tuple(
        ScaledServer(name, server.autoscaling)
        for name, server in load_servers(load_settings().zoo).items()
        if server.autoscaling is not None
        and server.place != "kubernetes"
        and dag_id in (None, _dag_id(name))
    )


def about_server(server: ScaledServer, doc: str | None) -> dict[str, Any]:
    """The arguments of a server's DAG: identity, documentation, a run a minute, one at a time."""
    spec = server.autoscaling
    rules = ", ".join(rule.kind for rule in spec.rules)
    return {
        "dag_id": _dag_id(server.name),
        "description": f"{spec.min} to {spec.max} replicas of {server.name}, by {rules}.",
        "doc_md": f"## {server.name}\n\n{doc or ''}\n\nDeclared in `servers.yaml`.",
        "tags": sorted({"servers", "autoscaling", server.name}),
        "schedule": CronTriggerTimetable("* * * * *", timezone="UTC"),
        "start_date": _FIRST_DAY,
        "catchup": False,
        "allowed_run_types": NO_BACKFILL,  # the load of another day cannot be answered now
        "max_active_runs": 1,
        "dagrun_timeout": _LIMIT,
        # The next minute's run is the retry.
        "default_args": {"retries": 0, "execution_timeout": _LIMIT},
    }


class AutoscaleServer(BaseOperator):  # type: ignore[misc] # Airflow is untyped here
    """Takes a decision every ten seconds for the better part of a minute; its XCom counts them."""

    template_fields: Sequence[str] = ()  # nothing that a user can send is ever rendered
    ui_color = "#e6f1f2"

    def __init__(self, *, server: str, seconds: float = _SECONDS, **kwargs: Any) -> None:
        super().__init__(**{"on_failure_callback": alert, **kwargs})
        self.server = server
        self.seconds = seconds

    def execute(self, context: Any) -> dict[str, Any]:  # noqa: ARG002
        """Scale; skipped where a `ferryman autoscale` has its turn. No figures is no failure."""
        from ferryman.deployment.autoscaling.autoscaler import autoscaler_of, files_of

        settings = load_settings()
        try:
            autoscaler = autoscaler_of(settings, self.server)
            with files_of(settings, self.server).turn(self.server):
                decisions = autoscaler.run(self.seconds, told=self._tell)
        except LostRace as error:
            raise AirflowSkipException(error.text) from None
        except FerrymanError as error:
            self.log.error("autoscaling failed (exit %d): %s", error.exit_code, error.text)
            self.log.error("Remedy: %s", error.remedy)
            raise
        return {
            "decisions": len(decisions),
            "changes": sum(one.change != "hold" for one in decisions),
            "replicas": decisions[-1].wanted,
            "reason": decisions[-1].reason,
        }

    def _tell(self, decision: Any) -> None:
        self.log.info(
            "%s: %d -> %d [%s] %s%s",
            decision.server,
            decision.current,
            decision.wanted,
            decision.rule,
            decision.reason,
            f"; failed: {decision.error}" if decision.error else "",
        )


def _dag_id(server: str) -> str:
    return f"servers.{server}.autoscaling"
