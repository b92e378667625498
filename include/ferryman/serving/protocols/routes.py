"""Which paths the prediction port knows, and what each of them asks."""

import re
from functools import lru_cache
from typing import Literal, NamedTuple

Kind = Literal[
    "predict",
    "labels",
    "status",
    "metadata",
    "model_ready",
    "server",
    "live",
    "ready",
    "metrics",
    "none",
]
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


# Eighteen digits fit every number that a version can be.
_VERSION = r"/versions/(?P<version>[0-9]{1,18})"
_MODEL = r"models/(?P<model>[^/:]{1,100})"
_MODEL_V1 = rf"{_MODEL}(?:{_VERSION}|/labels/(?P<label>[^/:]{{1,100}}))?"
_MODEL_V2 = rf"{_MODEL}(?:{_VERSION})?"
_PATHS: tuple[tuple[str, Kind, Dialect], ...] = (
    (rf"/v1/{_MODEL_V1}:(?P<verb>predict|classify|regress)", "predict", "v1"),
    (rf"/api/v1/{_MODEL_V1}/(?P<verb>predict)", "predict", "api"),
    (rf"/v2/{_MODEL_V2}/(?P<verb>infer)", "predict", "v2"),
    (r"/v1/labels", "labels", "v1"),
    (rf"/v1/{_MODEL_V1}", "status", "v1"),
    (rf"/v1/{_MODEL_V1}/metadata", "metadata", "v1"),
    (rf"/v2/{_MODEL_V2}", "metadata", "v2"),
    (rf"/v2/{_MODEL_V2}/ready", "model_ready", "v2"),
    (r"/v2", "server", "v2"),
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
            version = given.get("version")
            return Route(
                kind,
                dialect,
                given.get("verb") or "",
                given.get("model") or "",
                None if version is None else int(version),
                given.get("label") or "",
            )
    return NOWHERE
