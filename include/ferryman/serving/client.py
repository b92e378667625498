"""Talks to the serving process: predictions as any client, administration with the token."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import httpx

from ferryman.errors import (
    DataRejected,
    DependencyUnavailable,
    FerrymanError,
    IntegrityBroken,
    PolicyRefused,
    SpecError,
    Superseded,
)
from ferryman.runtime.admin_token import read_token
from ferryman.runtime.endpoints import Endpoint
from ferryman.runtime.traffic import Traffic, TrafficState

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 60.0
_LOAD_SECONDS = 260.0  # a trial may take two minutes, and wait for another
_ERRORS: Mapping[int, type[FerrymanError]] = {
    400: SpecError,
    401: PolicyRefused,
    403: PolicyRefused,
    404: SpecError,
    409: Superseded,
    413: SpecError,
    422: IntegrityBroken,
}


class Predictions(NamedTuple):
    """Answers in the order of the rows, of a multiclass model a list each, and who gave them."""

    scores: list[Any]
    version: int
    epoch: int
    request_id: str
    variant: str = "champion"


class ServingClient:
    """A client of one server, whose administration is a ModelServer. Use it in a `with` block.

    Every method raises DependencyUnavailable (exit 6) when the process cannot be reached.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        # The server is ours and near: a proxy from the environment must not get in between.
        self._http = httpx.Client(trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def predict(
        self, model: str, rows: Sequence[Mapping[str, Any]], *, label: str = ""
    ) -> Predictions:
        """Score rows as every client does; DataRejected (exit 3) names the row that is refused.

        A request that names a label is not drawn for: no candidate answers in its place.
        """
        named = f"/labels/{label}" if label else ""
        url = f"{self._endpoint.url}/v1/models/{model}{named}:predict"
        response = self._send("POST", url, {"instances": list(rows)})
        _refuse_bad_rows(model, response)
        return Predictions(
            scores=list(_content(response)["predictions"]),
            version=int(response.headers["x-model-version"]),
            epoch=int(response.headers["x-model-epoch"]),
            request_id=response.headers["x-request-id"],
            variant=response.headers.get("x-model-variant", "champion"),
        )

    def post_labels(self, model: str, labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Post outcomes, as docs/labels.md tells; what is accepted is on the server's disk.

        Raises DataRejected (exit 3) that names the label which is refused.
        """
        token = read_token(self._endpoint.label_token_file)
        url, body = f"{self._endpoint.url}/v1/labels", {"model": model, "labels": list(labels)}
        response = self._send("POST", url, body, {"authorization": f"Bearer {token}"})
        _refuse_bad_rows(model, response)
        return _content(response)

    def status(self, model: str) -> dict[str, Any] | None:
        """What the server serves of a model: version, epoch, digest, loaded; None when nothing."""
        response = self._admin("GET", f"models/{model}")
        return None if response.status_code == 404 else _content(response)

    def check(self, model: str, bundle: str, digest: str) -> None:
        """Let the server try a candidate beside what it serves.

        Raises IntegrityBroken (exit 7) when its bytes or its golden answers are not as recorded.
        """
        _content(
            self._admin(
                "POST", f"models/{model}/check", {"bundle": bundle, "digest": digest}, _LOAD_SECONDS
            )
        )

    def load(
        self, model: str, *, version: int, epoch: int, bundle: str, digest: str
    ) -> dict[str, Any]:
        """Serve a released version; Superseded (exit 5) when the server is at that epoch or later.

        The same version at the same epoch changes nothing. Raises IntegrityBroken (exit 7), with
        the old version still serving, when the bundle is not as recorded.
        """
        body = {"version": version, "epoch": epoch, "bundle": bundle, "digest": digest}
        return _content(self._admin("POST", f"models/{model}/load", body, _LOAD_SECONDS))

    def expose(self, model: str, traffic: Traffic, bundle: str) -> TrafficState:
        """See ModelServer.expose."""
        body = {"traffic": traffic.model_dump(mode="json"), "bundle": bundle}
        answer = _content(self._admin("POST", f"models/{model}/traffic", body, _LOAD_SECONDS))
        return TrafficState.model_validate(answer)

    def withdraw(self, model: str, fence: int) -> None:
        """See ModelServer.withdraw."""
        _content(self._admin("POST", f"models/{model}/withdraw", {"fence": fence}))

    def traffic(self, model: str) -> TrafficState | None:
        """See ModelServer.traffic."""
        response = self._admin("GET", f"models/{model}/traffic")
        if response.status_code == 404:
            return None
        return TrafficState.model_validate(_content(response))

    def flush(self) -> None:
        """Wait until every answered prediction is in the prediction log."""
        _content(self._admin("POST", "prediction-log/flush"))

    def is_ready(self) -> bool:
        """Whether the server has loaded every model that it remembers."""
        url = f"{self._endpoint.url}/v2/health/ready"
        return self._send("GET", url).status_code == 200

    def _admin(
        self, method: str, path: str, body: Any = None, seconds: float = _ANSWER_SECONDS
    ) -> httpx.Response:
        token = read_token(self._endpoint.token_file)
        url = f"{self._endpoint.admin_url}/admin/{path}"
        return self._send(method, url, body, {"authorization": f"Bearer {token}"}, seconds)

    def _send(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = _ANSWER_SECONDS,
    ) -> httpx.Response:
        wait = httpx.Timeout(seconds, connect=_CONNECT_SECONDS)
        try:
            return self._http.request(
                method, url, json=body, headers=dict(headers or {}), timeout=wait
            )
        except httpx.TransportError as error:
            raise DependencyUnavailable(
                f"server not reachable at {url}: {error or type(error).__name__}",
                remedy="Start it: ferryman serve --detach.",
            ) from error


def _refuse_bad_rows(model: str, response: httpx.Response) -> None:
    """DataRejected (exit 3) with the row and the field that a server has found fault with.

    Asking again gives no answer to a row that the model has none to: that is a 500 with its row.
    """
    names_a_row = response.status_code == 500 and b'"row"' in response.content
    if response.status_code == 400 or names_a_row:
        answer = response.json()
        where = [f"{key} {answer[key]}" for key in ("row", "field") if key in answer]
        place = f"{', '.join(where)}: " if where else ""
        raise DataRejected(f"{model}: {place}{answer['error']}")


def _content(response: httpx.Response) -> dict[str, Any]:
    """The answer's JSON, or the error that its status stands for."""
    if response.status_code == 200:
        content: dict[str, Any] = response.json()
        return content
    try:
        text = str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        text = response.reason_phrase
    kind = _ERRORS.get(response.status_code, DependencyUnavailable)
    raise kind(f"serving answered {response.status_code}: {text}")
