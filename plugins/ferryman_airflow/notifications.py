"""Tells of a run's stages: once that one succeeded, once that a person is asked.

What a model's declaration names under `notify` decides. A mark in the run's folder is made before
anything is sent, so that a retry, a second callback or a cleared task tells nobody again. Nothing
here ever fails a task, and no channel delays one by more than PATIENCE.
"""

import logging
import re
from pathlib import Path
from typing import Any

from airflow.sdk.log import redact
from pydantic import JsonValue

from ferryman.runtime.alerts import send
from ferryman.runtime.run_store import run_folder
from ferryman.settings import Settings, load_settings
from ferryman.spec.model import DeclaredModel
from ferryman.spec.notify import SEVERITY_OF, Event
from ferryman_airflow.connections import TaskConnections

_MARKS = "notified"
_TEXT = 500  # characters

logger = logging.getLogger(__name__)


def tell_success(context: Any) -> None:
    """Airflow's `on_success_callback` of every step: tells of stages that are declared to tell."""
    task, instance = context.get("task"), context["ti"]
    declared = getattr(task, "declared", None)
    if declared is None or not declared.spec.notify.tells("success", task.step_name):
        return
    try:
        made = getattr(task, "made", None)
        facts: dict[str, JsonValue] = {
            "text": (made.text if made else "the stage succeeded")[:_TEXT],
            "link": getattr(instance, "log_url", ""),
        }
        title = f"{declared.name}: {instance.task_id} succeeded"
        tell_once(load_settings(), declared, "success", context, title, facts)
    except Exception:
        logger.exception("nobody could be told that %s succeeded", instance.task_id)


def tell_once(  # noqa: PLR0913, PLR0917 - what a notification says
    settings: Settings,
    declared: DeclaredModel,
    event: Event,
    context: Any,
    title: str,
    facts: dict[str, JsonValue],
) -> bool:
    """Send a notification about a run's task, unless one was begun before; whether it arrived."""
    instance = context["ti"]
    channels = declared.spec.notify.channels_for(event)
    if not channels or not _is_first(settings, declared, event, instance):
        return False
    message: dict[str, JsonValue] = {
        "event": event,
        "severity": SEVERITY_OF[event],
        "model": declared.name,
        "dag": instance.dag_id,
        "task": instance.task_id,
        "run_id": instance.run_id,
        "title": title,
        **facts,
    }
    logger.info("NOTIFY %s: %s", event, title)
    told = {key: redact(value) for key, value in message.items()}
    return send(told, TaskConnections(settings), channels=channels)


def _is_first(settings: Settings, declared: DeclaredModel, event: Event, instance: Any) -> bool:
    """Make the mark of a notification; False where it was made before."""
    index = getattr(instance, "map_index", -1)
    mapped = f"-{index}" if isinstance(index, int) and index >= 0 else ""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{instance.task_id}{mapped}.{event}")
    pipeline = str(instance.dag_id).rpartition(".")[2]
    folder = run_folder(settings.runs_root, declared.name, pipeline, instance.run_id) / _MARKS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Path(folder / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError as error:  # a full disk: rather twice than never
        logger.warning("a notification cannot be marked as sent: %s", error)
    return True
