"""Who may see what: the one file that imports Airflow's own access rules, which are internal."""

from collections.abc import Callable
from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import get_user

# A dependency of every route: 401 without a token, 403 with a forged one.
current_user: Callable[..., Any] = get_user


def readable_models(user: Any, names: list[str]) -> list[str]:
    """Those models whose ingest DAG the user may read."""
    found = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
    return [name for name in names if f"{name}.ingest" in found]
