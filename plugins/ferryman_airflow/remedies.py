"""From an alert to the run that remedies it: by a fixed map, once, where its model allows it."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from pydantic import JsonValue

from ferryman.catalog import load_catalog, notify_of
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import ALERT
from ferryman.runtime.alerts import send
from ferryman.runtime.connections import Connection
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.spec.monitoring import Remedy
from ferryman.spec.notify import Severity
from ferryman_airflow.connections import translate

ACTOR = "alertmanager"
# Which pipeline is the remedy; nothing that an alert says can name another.
PIPELINE_OF: Mapping[Remedy, str] = {
    "monitoring": "monitoring",
    "retraining": "training",
    "rollback": "rollback",
    "reconcile": "maintenance",
    "maintenance": "maintenance",
}
_WITH_REASON = frozenset({"training", "rollback"})
_SAID = re.compile(r"[^A-Za-z0-9 .,:;()+#@/=%_<>-]+")
_MOST_TOLD = 20  # alerts of one message, one by one

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of one firing alert."""

    alert: str
    fingerprint: str
    outcome: Literal["started", "already", "ignored", "failed"]
    text: str
    dag: str = ""
    run_id: str = ""

    @property
    def as_json(self) -> dict[str, JsonValue]:
        """All of it."""
        return asdict(self)


class ServerConnections:
    """Connections in Airflow's API server: Airflow's own go before the installation's."""

    def __init__(self, settings: Settings) -> None:
        self._declared = DeclaredConnections(settings)

    def get(self, name: str) -> Connection:
        """See Connections.get."""
        from airflow.exceptions import AirflowNotFoundException
        from airflow.models.connection import Connection as AirflowConnection

        try:
            found = AirflowConnection.get_connection_from_secrets(name)
        except AirflowNotFoundException:
            return self._declared.get(name)
        return translate(name, found)


class Remedies:
    """Starts runs for alerts."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._catalog = load_catalog(settings.zoo)

    def start(
        self,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        fingerprint: str,
        starts_at: datetime,
    ) -> Outcome:
        """Start the remedy of a firing alert; a run that is there already stays the only one."""
        name = labels.get("alertname", "")[:100]
        remedy, model = labels.get("remedy", "none"), labels.get("model", "")
        declared = self._catalog.models.get(model)
        pipeline = {str(key): value for key, value in PIPELINE_OF.items()}.get(remedy)
        why = _refusal(remedy, pipeline, model, declared)
        if why:
            return Outcome(name, fingerprint, "ignored", why)
        moment = starts_at.astimezone(UTC)
        dag, run_id = f"{model}.{pipeline}", f"alert__{fingerprint}__{moment:%Y%m%dT%H%M%S.%fZ}"
        said = _SAID.sub(" ", f"alert {name}: {annotations.get('summary', '')}")
        reason = " ".join(said.split())[:200]
        conf: dict[str, JsonValue] = {"reason": reason} if pipeline in _WITH_REASON else {}
        found = Outcome(name, fingerprint, "already", reason, dag, run_id)
        try:
            if pipeline == "rollback" and not _is_there(dag, run_id):
                about = self._epoch_of(labels, model)
                if isinstance(about, str):
                    return replace(found, outcome="ignored", text=about, dag="", run_id="")
                conf["epoch"] = about
            if _trigger(dag, run_id, conf):
                found = replace(found, outcome="started")
            self._note_once(model, remedy, found)
        except Exception as error:
            logger.exception("the remedy %s of alert %s could not be started", dag, name)
            return replace(found, outcome="failed", text=type(error).__name__)
        logger.info("ALERT %s of %s: %s %s, run %s", name, model, found.outcome, dag, run_id)
        return found

    def _epoch_of(self, labels: Mapping[str, str], model: str) -> int | str:
        """The epoch that an alert is about, if it is still served; else why it is not gone back.

        An alert names the version (or the epoch) that failed: what was released since is another.
        """
        told = {key: labels[key] for key in ("version", "epoch") if key in labels}
        if not told:
            return "it does not say which version it is about (label version, or epoch)"
        head = Ledger(self._settings.ledger_url).head(model)
        if head is None:
            return f"nothing of {model} is released"
        for key, value in told.items():
            served = str(getattr(head, key))
            if value != served:
                return f"it is about {key} {value[:20]!r}, and {key} {served} is served by now"
        return head.epoch

    def _note_once(self, model: str, remedy: str, found: Outcome) -> None:
        """Write the ledger's note of a start; one that a kill kept from it is made good."""
        evidence: dict[str, JsonValue] = {
            "op": "",  # it is about no release
            "title": found.alert,
            "remedy": remedy,
            "dag": found.dag,
            "run_id": found.run_id,
            "fingerprint": found.fingerprint,
        }
        reason = f"alert {found.alert} started {found.dag}"
        Ledger(self._settings.ledger_url).note(
            ALERT, model, actor=ACTOR, reason=reason, evidence=evidence, once_by="run_id"
        )


def _refusal(remedy: str, pipeline: str | None, model: str, declared: DeclaredModel | None) -> str:
    if remedy == "none":
        return "it has no remedy but a person"
    if pipeline is None:
        return f"there is no remedy {remedy[:60]!r}"
    if declared is None:
        return f"there is no model {model[:60]!r}"
    if remedy not in declared.spec.monitor.alerts.remedies:
        return f"{model} leaves {remedy} to people (monitor.alerts.remedies)"
    return ""


def _is_there(dag: str, run_id: str) -> bool:
    from airflow.models.dagrun import DagRun

    return bool(DagRun.find(dag_id=dag, run_id=run_id))


def _trigger(dag: str, run_id: str, conf: dict[str, JsonValue]) -> bool:
    """Start a run; False where it is there already, be it from this very moment."""
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.exceptions import DagRunAlreadyExists
    from airflow.utils.types import DagRunTriggeredByType
    from sqlalchemy.exc import IntegrityError

    try:
        trigger_dag(
            dag,
            run_id=run_id,
            conf=conf,
            triggered_by=DagRunTriggeredByType.REST_API,
            triggering_user_name=ACTOR,
            note="Started by an alert; see the ledger.",
        )
    except DagRunAlreadyExists:
        return False
    except IntegrityError:
        if _is_there(dag, run_id):
            return False
        raise
    return True


def tell_people(
    settings: Settings,
    status: str,
    alerts: Sequence[tuple[Mapping[str, str], Mapping[str, str]]],
) -> bool:
    """One message for what Alertmanager sends together; whether a channel took it."""
    labels, annotations = alerts[0]
    severity: Severity = _severity(one for one, _ in alerts)
    title = f"{status.upper()}: {annotations.get('summary') or labels.get('alertname', 'alert')}"
    lines = [
        f"{given.get('summary', '')}. {given.get('description', '')}".strip(" .") or "an alert"
        for _, given in alerts[:_MOST_TOLD]
    ]
    message: dict[str, JsonValue] = {
        "title": title[:200],
        "text": "\n".join(lines)[:2000],
        "status": status,
        "severity": severity,
        "alert": labels.get("alertname", "")[:100],
        "model": labels.get("model", "")[:100],
        "server": labels.get("server", "")[:100],
        "remedy": labels.get("remedy", "none")[:100],
        "runbook": annotations.get("runbook_url", "")[:300],
        "alerts": len(alerts),
    }
    logger.warning("ALERT %s", message["title"])
    notify = notify_of(settings.zoo, labels.get("model", ""))
    channels = notify.channels_for("alert", severity)
    return send(message, ServerConnections(settings), channels=channels)


def _severity(labels: Iterable[Mapping[str, str]]) -> Severity:
    found = {one.get("severity", "critical") for one in labels}
    if found == {"info"}:
        return "info"
    return "warning" if found <= {"info", "warning"} else "critical"
