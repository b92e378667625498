"""Who asks for a rollback: the person who started the run, as Airflow knows them."""

from typing import Any

from pydantic import JsonValue

from ferryman_airflow.asset_events import triggered_by


def asked_by(context: Any, model: str) -> dict[str, JsonValue]:  # noqa: ARG001 - one signature
    """The name that goes to the ledger; nothing where no person started the run."""
    person = triggered_by(context)
    return {"actor": person} if person else {}
