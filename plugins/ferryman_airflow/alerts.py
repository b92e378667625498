"""Tells of a failed task: a line in its log, and a message to each channel of its model.

Channels are those that `notify` of the declaration names, by default the connection `alerts`, if it
is defined. A dead one costs a failed task PATIENCE seconds and nothing else. What is sent holds the
text of the error as the log has it; of a bug it holds the kind alone, because nobody has looked at
the words of other people's exceptions.
"""

import logging
from typing import Any

from airflow.sdk.exceptions import AirflowTaskTimeout
from airflow.sdk.log import redact
from pydantic import JsonValue

from ferryman.errors import FerrymanError, exit_code_of
from ferryman.runtime.alerts import CHANNEL, send
from ferryman.settings import load_settings
from ferryman_airflow.connections import TaskConnections

_TEXT, _REMEDY = 2000, 500  # characters

logger = logging.getLogger(__name__)


def alert(context: Any) -> None:
    """Airflow's `on_failure_callback` of every step; it raises nothing and waits PATIENCE at most.

    Airflow calls it once a task has failed for good, not before a retry.
    """
    message = describe(context)
    logger.error(
        "ALERT %s.%s, run %s: exit %s: %s",
        message["dag"],
        message["task"],
        message["run_id"],
        message["exit_code"],
        message["text"],
    )
    channels = _channels(context)
    if channels:
        send(message, TaskConnections(load_settings()), channels=channels)


def _channels(context: Any) -> tuple[str, ...]:
    """The channels that are told of this task's failure; `alerts` for what is no model's step."""
    task = context.get("task")
    declared = getattr(task, "declared", None)
    if declared is None:
        return (CHANNEL,)
    notify, stage = declared.spec.notify, getattr(task, "step_name", "")
    return notify.channels_for("failure") if notify.tells("failure", stage) else ()


def describe(context: Any) -> dict[str, JsonValue]:
    """What is told of a failure: where, why, what to do, and the address of the task's page."""
    instance, error = context["ti"], context.get("exception")
    text, remedy = _words(error)
    declared = getattr(context.get("task"), "declared", None)
    told = {
        "model": declared.name if declared is not None else instance.dag_id.partition(".")[0],
        "dag": instance.dag_id,
        "task": instance.task_id,
        "run_id": instance.run_id,
        "exit_code": int(exit_code_of(error)) if isinstance(error, BaseException) else None,
        "text": text[:_TEXT],
        "remedy": remedy[:_REMEDY],
        "link": getattr(instance, "log_url", ""),
    }
    return {key: redact(value) for key, value in told.items()}


def _words(error: object) -> tuple[str, str]:
    if isinstance(error, FerrymanError):
        return error.text, error.remedy
    if isinstance(error, AirflowTaskTimeout):
        return str(error), "Read in the task's log where its time went, then clear the task."
    if isinstance(error, BaseException):
        return f"{type(error).__name__}: a bug, or a limit of Airflow's", "Read the task's log."
    return "the task ended without an error of its own", "Read the task's log: was it killed?"
