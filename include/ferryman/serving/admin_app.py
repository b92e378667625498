"""The administration port: check, load and state of models, behind a bearer token."""

import asyncio
import hmac
import re
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from ferryman.errors import (
    DependencyUnavailable,
    FerrymanError,
    IntegrityBroken,
    SpecError,
    Superseded,
)
from ferryman.serving.answers import Message, Receive, Send, send_json
from ferryman.serving.log_writer import PredictionLog
from ferryman.serving.metrics import ServingMetrics
from ferryman.serving.served_models import Pointer, ServedModels

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
DIGEST = r"^[0-9a-f]{64}$"
STATUS_OF = {Superseded: 409, IntegrityBroken: 422, SpecError: 400, DependencyUnavailable: 503}


class CheckBody(BaseModel):
    """A candidate to try: its bundle folder and the digest that it must have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: str = Field(min_length=1, max_length=4096)
    digest: str = Field(pattern=DIGEST)


class LoadBody(CheckBody):
    """A released version to serve."""

    version: int = Field(ge=1)
    epoch: int = Field(ge=1)


class TokenGate:
    """Lets nothing through to the administration, not even a 404, without the token."""

    def __init__(self, app: Any, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request (ASGI)."""
        if scope["type"] != "http":
            return
        given = [value for key, value in scope["headers"] if key == b"authorization"]
        if len(given) != 1 or not hmac.compare_digest(given[0], self._expected):
            challenge = [(b"www-authenticate", b"Bearer")]
            await send_json(send, 401, {"error": "the administration token is needed"}, challenge)
            return
        await self._app(scope, receive, send)


def make_admin_app(
    served: ServedModels, log: PredictionLog, metrics: ServingMetrics, token: str
) -> TokenGate:
    """The administration's application (ASGI), closed by its token; no documentation pages."""
    app = FastAPI(title="Ferryman serving", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(FerrymanError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_bad_body)

    @app.get("/admin/models")
    async def list_models() -> dict[str, Any]:
        return {"models": {name: _describe(served, name) for name in served.remembered}}

    @app.get("/admin/models/{name}")
    async def show_model(name: str) -> JSONResponse:
        if name not in served.remembered:
            return JSONResponse({"error": "this server knows no such model"}, 404)
        return JSONResponse(_describe(served, name))

    @app.post("/admin/models/{name}/check")
    async def check(name: str, body: CheckBody) -> dict[str, Any]:
        _check_name(name)
        await asyncio.to_thread(served.check, name, body.bundle, body.digest)
        return {"checked": body.digest}

    @app.post("/admin/models/{name}/load")
    async def load(name: str, body: LoadBody) -> dict[str, Any]:
        _check_name(name)
        pointer = Pointer(version=body.version, epoch=body.epoch, digest=body.digest)
        changed = await asyncio.to_thread(served.load, name, pointer, body.bundle)
        metrics.serving(name, body.version, body.epoch)
        return {**_describe(served, name), "changed": changed}

    @app.post("/admin/prediction-log/flush")
    async def flush() -> JSONResponse:
        if await asyncio.to_thread(log.flush):
            return JSONResponse({"flushed": True})
        return JSONResponse({"error": "the prediction log did not flush in time"}, 503)

    return TokenGate(app, token)


def _describe(served: ServedModels, name: str) -> dict[str, Any]:
    pointer = served.remembered[name]
    loaded = served.get(name)
    return {
        "model": name,
        **pointer.model_dump(),
        "loaded": loaded is not None,
        "problem": served.problems.get(name, ""),
    }


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise SpecError("this is no model name", remedy=f"A name matches {NAME.pattern}")


async def _answer_error(request: Request, error: Exception) -> JSONResponse:
    del request
    status = STATUS_OF.get(type(error), 403)  # type: ignore[arg-type]
    text = error.text if isinstance(error, FerrymanError) else "refused"
    return JSONResponse({"error": text}, status)


async def _answer_bad_body(request: Request, error: Exception) -> JSONResponse:
    del request
    details = error.errors() if isinstance(error, RequestValidationError) else []
    texts = [f"{'.'.join(map(str, d['loc']))}: {d['msg']}"[:200] for d in details[:10]]
    return JSONResponse({"error": "; ".join(texts) or "bad body"}, 400)
