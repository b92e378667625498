"""The Models page and the receiver of alerts inside Airflow, without importing a server.

Every Airflow process executes the plugin file. The page's application is built when its first
request comes, and requests come to the API server alone.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

PREFIX = "/ferryman"
ALERTS_PREFIX = "/ferryman-alerts"

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class LazyPages:
    """An ASGI application that is built when it is first asked."""

    def __init__(self) -> None:
        self._app: Callable[[_Scope, _Receive, _Send], Awaitable[None]] | None = None

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer a request."""
        if self._app is None:
            from ferryman_airflow.ui.pages import build_app

            self._app = build_app()
        await self._app(scope, receive, send)


class LazyAlerts:
    """What Alertmanager and Prometheus speak to, built when it is first asked."""

    def __init__(self) -> None:
        self._app: Callable[[_Scope, _Receive, _Send], Awaitable[None]] | None = None

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer a request."""
        if self._app is None:
            from ferryman_airflow.ui.alert_hook import build_app

            self._app = build_app()
        await self._app(scope, receive, send)


def alerts_app() -> dict[str, Any]:
    """The entry of a plugin's `fastapi_apps` for alerts."""
    return {"app": LazyAlerts(), "url_prefix": ALERTS_PREFIX, "name": "Ferryman alerts"}


def fastapi_app() -> dict[str, Any]:
    """The entry of a plugin's `fastapi_apps`."""
    return {"app": LazyPages(), "url_prefix": PREFIX, "name": "Ferryman models"}


def external_view(base_path: str) -> dict[str, Any]:
    """The entry of a plugin's `external_views`: "Models" in the navigation."""
    return {
        "name": "Models",
        "href": f"{base_path}{PREFIX}/models",
        "url_route": "models",
        "destination": "nav",
    }
