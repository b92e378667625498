"""Every error that is known of a model: what its servers logged, and what its steps left."""

import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ferryman.errors import IntegrityBroken
from ferryman.monitoring.error_signatures import (
    NO_VERSION,
    ErrorEvent,
    ErrorGroups,
    first_time,
    logged_errors,
    told_errors,
)
from ferryman.monitoring.looks import first_look, report_file
from ferryman.runtime.endpoints import endpoint_of
from ferryman.runtime.files import read_json
from ferryman.runtime.run_store import ERROR, RESULT, read_result
from ferryman.settings import Settings
from ferryman.spec.servers import load_servers
from ferryman.spec.windows import format_time
from ferryman.steps.contract import StepContext

_LOG = "server.log"
_TOLD = 10  # signatures in a report
_FIRST_LINES = 1000  # of a log, in which its first moment is looked for

logger = logging.getLogger(__name__)


def known_errors(
    settings: Settings,
    model: str = "",
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    files: Iterable[Path] = (),
) -> Iterator[ErrorEvent]:
    """Errors of the servers' logs (or of `files` in their place) and of steps that stand failed.

    Moments are aware. Of a step that has succeeded since, the error is gone with it.
    """
    given = list(files)
    for file in given or server_logs(settings):
        yield from _of_log(file, model, since, until)
    if given:
        return
    for event in _of_steps(settings, model):
        if (since is None or event.at >= since) and (until is None or event.at < until):
            yield event


def server_logs(settings: Settings) -> list[Path]:
    """The logs of the declared servers of this machine, the older file of each first."""
    return [file for files in _logs_by_server(settings).values() for file in files]


def _logs_by_server(settings: Settings) -> dict[str, list[Path]]:
    found = {}
    for name, server in load_servers(settings.zoo).items():
        root = endpoint_of(settings, name, server).root
        found[name] = [file for file in (root / f"{_LOG}.1", root / _LOG) if file.is_file()]
    return found


def monitored_errors(context: StepContext) -> dict[str, JsonValue]:
    """For the night's report: the errors of the window, and those that only the newest version has.

    `limits` says what cannot be known of them. A backfill says what its night said; where no night
    looked, it reads what came by its moment. A log that cannot be read fails no monitoring; it is
    said in our own.
    """
    moment, window = context.known_until, context.window
    if moment is not None and (told := _told_that_night(context)) is not None:
        return told
    groups, settings = ErrorGroups(), context.settings
    until = window.end if moment is None else min(window.end, moment)
    for event in known_errors(settings, context.model.name, since=window.start, until=until):
        groups.add(event)
    limits = log_limits(settings, window.start)
    if context.restates:
        limits.append("errors of steps that have succeeded since are not among these")
    return {**told_errors(groups, _TOLD), "limits": [*limits]}


def log_limits(settings: Settings, start: datetime) -> list[str]:
    """Which servers' logs of this machine do not reach back to a moment, as sentences."""
    limits = []
    for name, files in _logs_by_server(settings).items():
        began = _log_began(files[0]) if files else None
        if began is None:
            limits.append(f"there is no log of server {name} here")
        elif began > start:
            limits.append(f"the log of server {name} begins at {format_time(began)}")
    return limits


def _told_that_night(context: StepContext) -> dict[str, JsonValue] | None:
    """What the report of the window's night says of errors; None where there is none."""
    root, window = context.settings.monitoring_root, context.window
    file = report_file(root, context.model.name, window)
    if first_look(file, window) is None:
        return None
    told = read_json(file).get("errors")
    return told if isinstance(told, dict) else None


def _log_began(file: Path) -> datetime | None:
    try:
        with file.open("rb") as lines:
            return first_time(islice(lines, _FIRST_LINES))
    except OSError as error:
        logger.warning("the log %s cannot be read: %s", file, error)
        return None


def _of_log(
    file: Path, model: str, since: datetime | None, until: datetime | None
) -> Iterator[ErrorEvent]:
    try:
        with file.open("rb") as lines:
            yield from logged_errors(lines, model=model, since=since, until=until)
    except OSError as error:
        logger.warning("the log %s cannot be read: %s", file, error)


def _of_steps(settings: Settings, model: str) -> Iterator[ErrorEvent]:
    for file in sorted(settings.runs_root.glob(f"{model or '*'}/*/*/**/{ERROR}")):
        try:
            told: dict[str, Any] = read_json(file)
            yield ErrorEvent(
                at=datetime.fromtimestamp(file.stat().st_mtime, UTC),
                level="ERROR",
                message=str(told["text"]),
                model=file.relative_to(settings.runs_root).parts[0],
                version=_version(settings, file),
                where=f"step {file.parent.name}, exit {int(told['exit_code'])}",
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s is no error of a step: %s", file, error)


def _version(settings: Settings, file: Path) -> str:
    run = settings.runs_root.joinpath(*file.relative_to(settings.runs_root).parts[:3])
    registered = run / "register" / RESULT
    try:
        return str(read_result(registered).outputs.get("version", NO_VERSION))
    except (OSError, IntegrityBroken):
        return NO_VERSION
