"""Diagnoses a window that alarms, keeps what it was put down to, and tells people once."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ferryman.errors import FerrymanError
from ferryman.monitoring.diagnosis import Diagnosis, alarms_of
from ferryman.monitoring.diagnosis_place import diagnosis_file
from ferryman.runtime.alerts import alert
from ferryman.runtime.files import read_json, write_json
from ferryman.steps.contract import StepContext

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ToldAlarm:
    """What a night says of its alarm: the diagnosis in a line, or why there is none; None where
    nothing alarms."""

    title: str | None = None
    trouble: str = ""

    @property
    def texts(self) -> list[str]:
        """For the step's text."""
        return [text for text in (self.title, self.trouble) if text]


def told_alarm(context: StepContext, report: Mapping[str, Any]) -> ToldAlarm:
    """Diagnose a window whose new report alarms, and tell people; where none does, nothing is read.

    A backfill and a replay diagnose nothing. Raises nothing: whoever retrains needs the report, and
    waits for no explanation.
    """
    if context.restates or not getattr(context.params, "tell", True):
        return ToldAlarm()
    if not alarms_of(report, context.spec.monitor, context.window):
        # An earlier look at this window may have alarmed: labels came since.
        _file(context).unlink(missing_ok=True)
        return ToldAlarm()
    try:
        # Only a night that alarms pays for what a diagnosis reads and imports.
        from ferryman.steps.diagnosed_window import diagnose_window

        said = diagnose_window(context, report)
        tell_diagnosis(context, said)
    except FerrymanError as error:
        logger.warning("%s: the alarm was not diagnosed: %s", context.window, error.text)
        return ToldAlarm(trouble=f"the alarm was not diagnosed: {error.text}")
    except Exception as error:
        logger.exception("%s: the alarm was not diagnosed", context.window)
        return ToldAlarm(trouble=f"the alarm was not diagnosed: {type(error).__name__}")
    return ToldAlarm(said.title)


def tell_diagnosis(context: StepContext, said: Diagnosis) -> bool:
    """Send an alert of a diagnosed window and keep it; whether anybody had to be told.

    Nobody is told where nothing alarms, of a backfill, or twice of the same window and first
    culprit. Killed between both, it is told again: rather twice than never.
    """
    if not said.alarms or context.restates:
        return False
    file = _file(context)
    if _told(file) == said.title:
        return False
    facts: dict[str, JsonValue] = {
        "model": said.model,
        "window": said.window,
        "culprits": [one.name for one in said.culprits],
        "diagnosis": str(file),
        "link": context.origin,
    }
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


def _file(context: StepContext) -> Path:
    return diagnosis_file(context.monitoring_root, context.model.name, context.window)


def _told(file: Path) -> str | None:
    try:
        return str(read_json(file)["title"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
