"""Every error that is known of a model: what its servers logged, and what its steps left."""

import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ferryman.errors import IntegrityBroken
from ferryman.monitoring.error_signatures import (
    NO_VERSION,
    ErrorEvent,
    ErrorGroups,
    logged_errors,
    told_errors,
)
from ferryman.runtime.endpoints import endpoint_of
from ferryman.runtime.files import read_json
from ferryman.runtime.run_store import ERROR, RESULT, read_result
from ferryman.settings import Settings
from ferryman.spec.servers import load_servers
from ferryman.steps.contract import StepContext

_LOG = "server.log"
_TOLD = 10  # signatures in a report

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
    found = []
    for name, server in load_servers(settings.zoo).items():
        root = endpoint_of(settings, name, server).root
        found += [root / f"{_LOG}.1", root / _LOG]
    return [file for file in found if file.is_file()]


def monitored_errors(context: StepContext) -> dict[str, JsonValue]:
    """For the night's report: the errors of the window, and those that only the newest version has.

    A log that cannot be read fails no monitoring; it is said in our own.
    """
    groups, window = ErrorGroups(), context.window
    for event in known_errors(
        context.settings, context.model.name, since=window.start, until=window.end
    ):
        groups.add(event)
    return told_errors(groups, _TOLD)


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
