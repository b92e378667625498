"""What Alertmanager and Prometheus speak to: alerts in, figures of the installation out.

Both routes ask for a token of their own, kept in a file (TOKEN_FILE in <home>/alerts): it opens
nothing else, and nothing else opens them. People are told first of an alert that may be acted on,
then the DAG that its label `remedy` names is started: once for an alert that fires, however often
it is sent.
"""

import hashlib
import hmac
import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from ferryman.runtime.admin_token import make_token
from ferryman.settings import Settings, load_settings
from ferryman.steps.guard_figures import GuardFigures
from ferryman_airflow.remedies import Outcome, Remedies, tell_people
from ferryman_airflow.ui.airflow_figures import airflow_families

TOKEN_FILE = "alerts.token"  # noqa: S105 - a file's name
_MOST_BYTES = 1 << 20
_AGAIN = 300.0  # seconds in which the very same message is a repeat of Alertmanager's own
_METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]

logger = logging.getLogger(__name__)


class Alert(BaseModel):
    """One alert of a message; what else it has is not read."""

    model_config = ConfigDict(frozen=True)

    status: Literal["firing", "resolved"]
    labels: dict[str, str] = Field(max_length=100)
    annotations: dict[str, str] = Field(default={}, max_length=100)
    startsAt: AwareDatetime  # noqa: N815 - Alertmanager's name
    fingerprint: str = Field(pattern=r"^[0-9a-f]{1,64}$")


class Message(BaseModel):
    """A message of Alertmanager's webhook, version 4."""

    model_config = ConfigDict(frozen=True)

    version: Literal["4"]
    status: Literal["firing", "resolved"]
    groupKey: str = ""  # noqa: N815 - Alertmanager's name
    alerts: tuple[Alert, ...] = Field(max_length=1000)


def build_app(settings: Settings | None = None) -> FastAPI:
    """The application; every answer but 401 needs the token."""
    used = settings or load_settings()
    token = make_token(used.home / "alerts" / TOKEN_FILE)
    figures, told = GuardFigures(used), _Told(used.home / "alerts" / "told")

    def check(request: Request) -> None:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise HTTPException(
                401, "The token of alerts is needed.", {"www-authenticate": "Bearer"}
            )

    app = FastAPI(dependencies=[Depends(check)], docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/alertmanager")
    def alerts(message: Annotated[Message, Depends(_read)]) -> dict[str, Any]:
        firing = [one for one in message.alerts if one.status == "firing"]
        if message.alerts and told.is_new(message):
            tell_people(used, message.status, [(a.labels, a.annotations) for a in message.alerts])
        remedies = Remedies(used)
        outcomes = [
            remedies.start(a.labels, a.annotations, a.fingerprint, a.startsAt) for a in firing
        ]
        if any(one.outcome == "failed" for one in outcomes):
            raise HTTPException(503, [one.as_json for one in outcomes])  # it is sent again
        return {
            "alerts": [one.as_json for one in outcomes],
            "resolved": len(message.alerts) - len(firing),
        }

    @app.get("/metrics")
    def metrics() -> Response:
        page = figures.page(_processes(), airflow_families())
        return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.api_route("/{path:path}", methods=_METHODS)
    def nothing_else(path: str) -> Response:  # noqa: ARG001 - the route has it
        raise HTTPException(404, "There is no such page.")

    return app


async def _read(request: Request) -> Message:
    """The body; 413 above a megabyte, 400 where it is no message of version 4."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_BYTES:
            raise HTTPException(413, "The body is larger than 1 MB.")
    try:
        return Message.model_validate_json(bytes(body))
    except ValidationError as error:
        places = [".".join(map(str, one["loc"])) for one in error.errors()[:5]]
        raise HTTPException(400, f"No message of Alertmanager's version 4: {places}") from None


class _Told:
    """Which messages people were told of: one that is sent again tells nobody twice.

    A mark is a file, so that it counts in every process of the server, and after a restart.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def is_new(self, message: Message) -> bool:
        """Mark a message as told; False where it was told a moment ago."""
        told = sorted((a.fingerprint, a.status, str(a.startsAt)) for a in message.alerts)
        mark = self._folder / hashlib.sha256(repr((message.groupKey, told)).encode()).hexdigest()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._forget_old()
            mark.touch(exist_ok=False)
        except FileExistsError:
            mark.touch()
            return False
        except OSError as error:  # a full disk: rather twice than never
            logger.warning("a message cannot be marked as told: %s", error)
        return True

    def _forget_old(self) -> None:
        before = time.time() - _AGAIN
        for mark in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another process was quicker
                if mark.stat().st_mtime < before:
                    mark.unlink()


def _processes() -> dict[str, bool]:
    """Airflow's processes that should run, and whether each is alive."""
    from airflow.api.common.airflow_health import get_airflow_health

    health = get_airflow_health()
    known = ("metadatabase", "scheduler", "triggerer", "dag_processor")
    states = {name: health[name]["status"] for name in known}
    return {name: state == "healthy" for name, state in states.items() if state is not None}


__all__ = ["TOKEN_FILE", "Alert", "Message", "Outcome", "build_app"]
