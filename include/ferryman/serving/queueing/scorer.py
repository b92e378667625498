"""Lets a running server score what came from a queue, over one connection that is kept."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import httpx
import orjson

from ferryman.errors import DependencyUnavailable
from ferryman.serving.queueing.messages import Answer, Request, refuse

# The server takes 8 MiB and 10,000 rows a request; one of a batch must not make it too large.
_BYTES = 512 * 1024
_ROWS = 2_000
_TRIES = 5
_SECONDS = httpx.Timeout(60.0, connect=5.0)
# What a server says that is not ready, has not been given the model yet, or has too much to do.
_AWAY = frozenset({404, 408, 425, 429, 502, 503, 504})


class QueueScorer:
    """Scores requests with one model of one server. Use it in a `with` block.

    Every answer, and every refusal, is the server's own: a release is followed by itself. While the
    server says that a candidate has a share of the requests, each message is a request of its own,
    so that whom it is about is drawn for, and not whoever stands first in a group.
    """

    def __init__(self, url: str, model: str) -> None:
        self._url = f"{url}/v1/models/{model}:predict"
        # The server is ours and near: a proxy from the environment must not get in between.
        self._http = httpx.Client(timeout=_SECONDS, trust_env=False)
        self._tries: dict[str, int] = {}
        self._is_drawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def score(self, requests: Sequence[Request]) -> Iterator[list[Answer]]:
        """Answers to all requests, a group at a time; small ones are scored together.

        Raises DependencyUnavailable (exit 6) while the server does not answer or does not serve the
        model: what has been given until then is right, the rest is to be asked again. A request
        that breaks the server's answer several times, alone, is answered as an error.
        """
        for group in _groups(requests):
            is_one = len(group) > 1 and not self._is_drawn
            together = self._together(group) if is_one else None
            if together is not None:
                yield together
                continue
            # Each alone is drawn for, and is answered though another is wrong or breaks the server.
            for request in group:
                yield [self._alone(request)]

    def _together(self, group: Sequence[Request]) -> list[Answer] | None:
        """The answers of a group; None where they must be asked for one by one."""
        rows = [row for request in group for row in request.rows]
        try:
            response = self._post(orjson.dumps({"instances": rows}))
        except httpx.TransportError:
            return None
        predictions = _predictions(response)
        if predictions is None or len(predictions) != len(rows):
            return None
        answers, start = [], 0
        for request in group:
            end = start + len(request.rows)
            answers.append(_answer(request, predictions[start:end], response.headers))
            start = end
            self._tries.pop(request.entry, None)
        return answers

    def _alone(self, request: Request) -> Answer:
        body = request.body or orjson.dumps({"instances": request.rows})
        try:
            response = self._post(body)
        except httpx.TransportError as error:
            return self._failed(request, type(error).__name__)
        told = _content(response) if response.status_code >= 400 else {}
        if response.status_code >= 500 and "row" not in told:  # else the model has no answer to it
            return self._failed(request, f"status {response.status_code}")
        predictions = _predictions(response)
        if predictions is None and response.status_code < 400:
            return self._failed(request, "no predictions")
        self._tries.pop(request.entry, None)
        if predictions is not None:
            return _answer(request, predictions, response.headers)
        text = str(told.get("error", response.reason_phrase))
        where = {key: told[key] for key in ("row", "field") if key in told}
        return refuse(request.entry, request.id, response.status_code, text, **where)

    def _failed(self, request: Request, reason: str) -> Answer:
        """The answer to a request that the server broke on too often; else to be asked again."""
        tries = self._tries.get(request.entry, 0) + 1
        self._tries[request.entry] = tries
        if tries < _TRIES:
            raise DependencyUnavailable(f"{self._url}: {reason} on a request, try {tries}")
        del self._tries[request.entry]
        text = f"the server gave no answer in {_TRIES} tries: {reason}"
        return refuse(request.entry, request.id, 500, text)

    def _post(self, body: bytes) -> httpx.Response:
        """The server's answer; TransportError where it broke off, maybe by the body's fault."""
        try:
            response = self._http.post(
                self._url, content=body, headers={"content-type": "application/json"}
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise DependencyUnavailable(
                f"server not reachable at {self._url}: {error or type(error).__name__}",
                remedy="Start it: ferryman serve --detach. Messages wait meanwhile.",
            ) from error
        if response.status_code in _AWAY:
            told = str(_content(response).get("error", response.reason_phrase))
            raise DependencyUnavailable(
                f"{self._url} answers {response.status_code}: {told[:200]}",
                remedy="Release the model, or wait for the server. Messages wait meanwhile.",
            )
        if response.status_code == 200:
            self._is_drawn = "x-model-propensity" in response.headers
        return response


def _groups(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """Requests that are scored together, in their order; one with a body of its own is alone."""
    group: list[Request] = []
    size = rows = 0
    for request in requests:
        if group and (
            request.body or size + request.size > _BYTES or rows + len(request.rows) > _ROWS
        ):
            yield group
            group, size, rows = [], 0, 0
        if request.body:
            yield [request]
            continue
        group.append(request)
        size += request.size
        rows += len(request.rows)
    if group:
        yield group


def _predictions(response: httpx.Response) -> list[Any] | None:
    """What a request in rows, or in columns, is answered."""
    if response.status_code != 200:
        return None
    told = _content(response)
    found = told.get("predictions", told.get("outputs"))
    return found if isinstance(found, list) else None


def _content(response: httpx.Response) -> dict[str, Any]:
    try:
        content = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def _answer(request: Request, predictions: list[Any], headers: Mapping[str, str]) -> Answer:
    fields: dict[str, str | bytes] = {
        "predictions": orjson.dumps(predictions),
        "version": headers.get("x-model-version", ""),
        "epoch": headers.get("x-model-epoch", ""),
        "request_id": headers.get("x-request-id", ""),
    }
    return Answer(request.entry, request.id, fields)
