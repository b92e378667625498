"""Connections inside a task: Airflow's own goes before the installation's of the same name."""

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlencode

from airflow.sdk import Connection as AirflowConnection
from airflow.sdk.exceptions import (
    AirflowNotFoundException,
    AirflowRuntimeError,
    AirflowSecretsBackendAccessDenied,
)

from ferryman.errors import DependencyUnavailable, PolicyRefused, SpecError
from ferryman.runtime.connection_url import is_secret, parse_connection
from ferryman.runtime.connections import Connection
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.settings import Settings

# What a connection's type is called in a URL; any other type is called by its own name.
_SCHEMES = {"postgres": "postgresql"}
_FORMS = (
    "Types: postgres, mysql, sqlite, http, aws, fs, or generic with a whole URL as its host; "
    "user and password stand in fields of their own."
)
# Settings of the AWS type that a bucket's connection has, by Airflow's names.
_BUCKET_OPTIONS = {"endpoint_url": "endpoint", "region_name": "region"}
_API_OPTIONS = ("ca_file", "proxy", "token_header")


class TaskConnections:
    """What a running task's steps find by name."""

    def __init__(self, settings: Settings) -> None:
        self._declared = DeclaredConnections(settings)

    def get(self, name: str) -> Connection:
        """See Connections.get; DependencyUnavailable (exit 6) where Airflow does not answer.

        PolicyRefused (exit 9) where Airflow keeps the connection from this task.
        """
        try:
            found = AirflowConnection.get(name)
        except AirflowNotFoundException:
            return self._declared.get(name)
        except AirflowSecretsBackendAccessDenied:
            raise PolicyRefused(
                f"Airflow keeps connection {name!r} from this task",
                remedy="Let the task's team use it.",
            ) from None
        except AirflowRuntimeError as error:
            raise DependencyUnavailable(
                f"Airflow does not tell connection {name!r}: {error.error.error}"
            ) from None
        return translate(name, found)


def translate(name: str, found: Any) -> Connection:
    """An Airflow connection as ours; SpecError (exit 2), which shows none of it, where none is."""
    kind = (found.conn_type or "").lower()
    extra = _extra(name, found.extra)
    if kind == "aws":
        return _bucket(name, found, extra)
    host = found.host or ""
    options: dict[str, str] = {}
    if "://" in host and kind != "http":
        bare = host
    elif kind in ("generic", ""):
        raise SpecError(f"connection {name!r}: its host is no whole URL", remedy=_FORMS)
    elif kind in ("sqlite", "fs"):
        path = PurePosixPath("/") / (host or str(extra.get("path") or found.schema or ""))
        before = "file://" if kind == "fs" else "sqlite:///"
        bare = before + quote(str(path))
    elif kind in ("http", "https"):
        bare, options = _api(kind, found, extra)
    else:
        bare = f"{_SCHEMES.get(kind, kind)}://{_address(found)}/{quote(found.schema or '')}"
        options = _plain(extra)
    parsed = parse_connection(name, bare + (f"?{urlencode(options)}" if options else ""))
    return Connection(
        name=name,
        url=parsed.url,
        login=found.login or parsed.login,
        password=found.password or parsed.password,
        options=parsed.options,
    )


def _api(kind: str, found: Any, extra: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Airflow keeps the scheme of an API in `schema`, or before the host."""
    host = found.host or ""
    scheme = found.schema or kind
    if "://" in host:
        scheme, _, host = host.partition("://")
    address, slash, path = host.partition("/")
    port = f":{found.port}" if found.port else ""
    options = {key: value for key, value in _plain(extra).items() if key in _API_OPTIONS}
    return f"{scheme}://{address}{port}{slash}{path}", options


def _bucket(name: str, found: Any, extra: Mapping[str, Any]) -> Connection:
    """The bucket of an AWS connection: in its schema, or in service_config.s3.bucket_name."""
    service: Any = extra.get("service_config")
    s3: Any = service.get("s3") if isinstance(service, Mapping) else None
    bucket = found.schema or (s3.get("bucket_name") if isinstance(s3, Mapping) else None)
    if not bucket:
        raise SpecError(
            f"connection {name!r}: names no bucket",
            remedy="Write BUCKET/PREFIX into its schema, or service_config.s3.bucket_name.",
        )
    options = {
        ours: str(extra[theirs]) for theirs, ours in _BUCKET_OPTIONS.items() if extra.get(theirs)
    }
    return Connection(
        name=name,
        url=f"s3://{quote(str(bucket))}",
        login=found.login or None,
        password=found.password or None,
        options=options,
    )


def _address(found: Any) -> str:
    host = found.host or ""
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return shown + (f":{found.port}" if found.port else "")


def _plain(extra: Mapping[str, Any]) -> dict[str, str]:
    """Plain settings, such as sslmode; what looks like a secret never becomes part of a URL."""
    return {
        key: str(value)
        for key, value in extra.items()
        if isinstance(value, str | int | float) and not is_secret(key)
    }


def _extra(name: str, text: str | None) -> Mapping[str, Any]:
    try:
        read = json.loads(text) if text else {}
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise SpecError(f"connection {name!r}: its extra is no JSON object")
    return read
