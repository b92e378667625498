"""The administration port: models and replicas of one server, behind a bearer token."""

import asyncio
import hmac
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ferryman.errors import (
    DependencyUnavailable,
    FerrymanError,
    IntegrityBroken,
    SpecError,
    Superseded,
)
from ferryman.runtime.traffic import Traffic, TrafficState
from ferryman.serving.models.served_pointers import Pointer

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Answered = tuple[int, Any]
_Body = TypeVar("_Body", bound=BaseModel)

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
DIGEST = r"^[0-9a-f]{64}$"
STATUS_OF = {Superseded: 409, IntegrityBroken: 422, SpecError: 400, DependencyUnavailable: 503}
_MAX_BODY = 64 * 1024
_BODY_SECONDS = 10.0

logger = logging.getLogger(__name__)


class Administration(Protocol):
    """What the administration port asks a front."""

    def models(self) -> dict[str, dict[str, Any]]:
        """What is served, by model."""
        ...

    async def check(self, name: str, bundle: str, digest: str) -> None:
        """See FrontModels.check."""
        ...

    async def load(self, name: str, pointer: Pointer, bundle: str) -> bool:
        """See FrontModels.load."""
        ...

    async def expose(self, name: str, traffic: Traffic, bundle: str) -> TrafficState:
        """See FrontTraffic.expose."""
        ...

    async def withdraw(self, name: str, fence: int) -> None:
        """See FrontTraffic.withdraw."""
        ...

    async def traffic(self, name: str) -> TrafficState | None:
        """See FrontTraffic.state."""
        ...

    async def flush(self) -> None:
        """Wait until every replica has written its prediction log."""
        ...

    def replicas(self) -> dict[str, Any]:
        """How many are wanted, and which there are."""
        ...

    async def scale(self, count: int, leave: list[str]) -> None:
        """Have so many replicas from now on."""
        ...


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CheckBody(_Part):
    """A candidate to try: its bundle folder and the digest that it must have."""

    bundle: str = Field(min_length=1, max_length=4096)
    digest: str = Field(pattern=DIGEST)


class LoadBody(CheckBody):
    """A released version to serve."""

    version: int = Field(ge=1)
    epoch: int = Field(ge=1)


class TrafficBody(_Part):
    """A candidate's share, and where its bundle lies."""

    traffic: Traffic
    bundle: str = Field(min_length=1, max_length=4096)


class WithdrawBody(_Part):
    """Who takes a share back."""

    fence: int = Field(ge=1, le=2**31 - 1)


class ReplicasBody(_Part):
    """How many replicas there shall be, and which of them go first."""

    count: int = Field(ge=1, le=100)
    leave: list[str] = Field(default=[], max_length=100)


class AdminApp:
    """The administration's application (ASGI). Nothing, not even a 404, without the token."""

    def __init__(self, front: Administration, token: str) -> None:
        self._front = front
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request (ASGI)."""
        if scope["type"] != "http":
            return
        given = [value for key, value in scope["headers"] if key == b"authorization"]
        if len(given) != 1 or not hmac.compare_digest(given[0], self._expected):
            challenge = [(b"www-authenticate", b"Bearer")]
            await _send(send, 401, {"error": "the administration token is needed"}, challenge)
            return
        try:
            status, content = await self._answer(scope["method"], scope["path"], receive)
        except FerrymanError as error:
            status, content = STATUS_OF.get(type(error), 403), {"error": error.text}
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            status, content = 500, {"error": "internal error"}
        await _send(send, status, content)

    async def _answer(  # noqa: PLR0911  - one for each route, all routes at one glance
        self, method: str, path: str, receive: Receive
    ) -> Answered:
        parts = path.removeprefix("/admin/").split("/") if path.startswith("/admin/") else []
        match method, parts:
            case "GET", ["models"]:
                return 200, {"models": self._front.models()}
            case "GET", ["models", name]:
                found = self._front.models().get(name)
                return (200, found) if found else (404, _error("this server knows no such model"))
            case "POST", ["models", name, "check"]:
                return await self._check(_name(name), await _read(receive, CheckBody))
            case "POST", ["models", name, "load"]:
                return await self._load(_name(name), await _read(receive, LoadBody))
            case _, ["models", name, "traffic" | "withdraw" as verb]:
                return await self._share(method, verb, _name(name), receive)
            case "POST", ["prediction-log", "flush"]:
                await self._front.flush()
                return 200, {"flushed": True}
            case "GET", ["replicas"]:
                return 200, self._front.replicas()
            case "POST", ["replicas"]:
                body = await _read(receive, ReplicasBody)
                await self._front.scale(body.count, body.leave)
                return 200, self._front.replicas()
        return 404, _error("no such path")

    async def _check(self, name: str, body: CheckBody) -> Answered:
        await self._front.check(name, body.bundle, body.digest)
        return 200, {"checked": body.digest}

    async def _load(self, name: str, body: LoadBody) -> Answered:
        pointer = Pointer(version=body.version, epoch=body.epoch, digest=body.digest)
        changed = await self._front.load(name, pointer, body.bundle)
        return 200, {**self._front.models()[name], "changed": changed}

    async def _share(self, method: str, verb: str, name: str, receive: Receive) -> Answered:
        if (method, verb) == ("POST", "traffic"):
            body = await _read(receive, TrafficBody)
            state = await self._front.expose(name, body.traffic, body.bundle)
            return 200, state.model_dump(mode="json")
        if (method, verb) == ("POST", "withdraw"):
            taken = await _read(receive, WithdrawBody)
            await self._front.withdraw(name, taken.fence)
            return 200, {"withdrawn": name}
        found = await self._front.traffic(name) if (method, verb) == ("GET", "traffic") else None
        if found is None:
            return 404, _error("no candidate has a share")
        return 200, found.model_dump(mode="json")


def _name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise SpecError("this is no model name", remedy=f"A name matches {NAME.pattern}")
    return name


async def _read(receive: Receive, kind: type[_Body]) -> _Body:
    body = b""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > _MAX_BODY:
                    raise SpecError(f"the body is larger than {_MAX_BODY} bytes")
                if not message.get("more_body", False):
                    break
        return kind.model_validate_json(body, strict=True)
    except TimeoutError:
        raise SpecError("the body did not arrive in time") from None
    except ValidationError as error:
        texts = [f"{'.'.join(map(str, d['loc']))}: {d['msg']}"[:200] for d in error.errors()[:10]]
        raise SpecError("; ".join(texts)) from error


def _error(text: str) -> dict[str, str]:
    return {"error": text}


async def _send(
    send: Send, status: int, content: Any, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    body = orjson.dumps(content)
    length = (b"content-length", str(len(body)).encode())
    kind = (b"content-type", b"application/json")
    start = {"type": "http.response.start", "status": status}
    await send({**start, "headers": [length, kind, *(headers or [])]})
    await send({"type": "http.response.body", "body": body})
