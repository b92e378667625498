"""Who may see and do what: the one file that imports Airflow's access rules, which are internal."""

from collections.abc import Callable
from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from airflow.models.dag import DagModel

# A dependency of every route: 401 without a token, 403 with a forged one.
current_user: Callable[..., Any] = get_user


def readable_models(user: Any, names: list[str]) -> list[str]:
    """Those models whose ingest DAG the user may read."""
    found = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
    return [name for name in names if f"{name}.ingest" in found]


def may_start(user: Any, dag_id: str) -> bool:
    """Whether the user may start a run of a DAG, as Airflow's own API will judge it."""
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return bool(
        get_auth_manager().is_authorized_dag(
            method="POST", access_entity=DagAccessEntity.RUN, details=details, user=user
        )
    )
