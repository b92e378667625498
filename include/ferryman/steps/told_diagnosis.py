"""Keeps what a window's alarm was put down to, and tells people once."""

from pathlib import Path

from pydantic import JsonValue

from ferryman.monitoring.diagnosis import Diagnosis
from ferryman.runtime.alerts import alert
from ferryman.runtime.files import read_json, write_json
from ferryman.steps.contract import StepContext


def tell_diagnosis(context: StepContext, said: Diagnosis) -> bool:
    """Send an alert of a diagnosed window and keep it; whether anybody had to be told.

    Nobody is told where nothing alarms, of a backfill, or twice of the same window and first
    culprit. Killed between both, it is told again: rather twice than never.
    """
    if not said.alarms or context.restates:
        return False
    file = context.monitoring_root / said.model / "diagnoses" / f"{context.window.key}.json"
    if _told(file) == said.title:
        return False
    facts: dict[str, JsonValue] = {"diagnosis": said.as_json(), "link": context.origin}
    alert(
        context.settings,
        said.title,
        said.text,
        facts,
        context.connections,
        notify=context.spec.notify,
    )
    write_json(file, said.as_json())
    return True


def _told(file: Path) -> str | None:
    try:
        return str(read_json(file)["title"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
