"""Which paths the prediction port knows, and what each of them asks."""

import re
from functools import lru_cache
from typing import Literal, NamedTuple

Kind = Literal["predict", "status", "metadata", "model_ready", "live", "ready", "metrics", "none"]
Dialect = Literal["v1", "v2", "api"]
_LONGEST = 512


class Route(NamedTuple):
    """What a path asks. `verb` tells v1's three kinds of prediction apart."""

    kind: Kind
    dialect: Dialect = "v1"
    verb: str = ""
    model: str = ""
    version: int | None = None
    label: str = ""


_MODEL = r"(?P<model>[^/:]{1,100})"
_PATHS: tuple[tuple[str, Kind, Dialect], ...] = (
    (rf"/v1/models/{_MODEL}:(?P<verb>predict)", "predict", "v1"),
    (rf"/api/v1/models/{_MODEL}/(?P<verb>predict)", "predict", "api"),
    (rf"/v2/models/{_MODEL}/(?P<verb>infer)", "predict", "v2"),
    (rf"/v1/models/{_MODEL}", "status", "v1"),
    (rf"/v2/models/{_MODEL}", "metadata", "v2"),
    (rf"/v2/models/{_MODEL}/ready", "model_ready", "v2"),
    (r"/v2/health/live", "live", "v2"),
    (r"/healthz|/v2/health/ready", "ready", "v2"),
    (r"/metrics", "metrics", "v1"),
)
_PATTERNS = [(re.compile(path), kind, dialect) for path, kind, dialect in _PATHS]
NOWHERE = Route("none")


def find_route(path: str) -> Route:
    """The route of a path; NOWHERE for every other one."""
    return _find(path) if len(path) <= _LONGEST else NOWHERE


# Clients ask few paths, very often; strangers who ask many push each other out.
@lru_cache(maxsize=1024)
def _find(path: str) -> Route:
    for pattern, kind, dialect in _PATTERNS:
        found = pattern.fullmatch(path)
        if found is not None:
            given = found.groupdict()
            return Route(kind, dialect, given.get("verb", ""), given.get("model", ""))
    return NOWHERE
