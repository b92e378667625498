"""The client that asks an API: who it says it is, and what it trusts."""

import ssl

import httpx

from ferryman.errors import SpecError
from ferryman.runtime.connections import Connection
from ferryman.spec.mistakes import nearest

_OPTIONS = ("ca_file", "proxy", "token_header")


def open_client(connection: Connection, shown: str) -> httpx.Client:
    """A client of the connection's login or token; SpecError (exit 2) for what cannot be one.

    Nothing of the environment (proxies, .netrc) has a say: options name a proxy, a file of trusted
    certificates, or another header than Authorization for the token.
    """
    for option in connection.options:
        if option not in _OPTIONS:
            meant = nearest(option[:60], _OPTIONS)
            hint = f"; did you mean {meant!r}?" if meant else f"; known: {', '.join(_OPTIONS)}"
            raise SpecError(
                f"{shown}: connection {connection.name!r}: option {option[:60]!r}{hint}"
            )
    if connection.scheme not in ("http", "https"):
        raise SpecError(
            f"{shown}: connection {connection.name!r} is {connection.scheme}://, no API",
            remedy="Name a connection such as https://api.example/v2.",
        )
    headers = {"accept": "application/json", "accept-encoding": "gzip", "user-agent": "ferryman"}
    auth = None
    secret = connection.password
    if connection.login is not None:
        auth = httpx.BasicAuth(connection.login, secret or "")
    elif secret is not None:
        if not (secret.isascii() and secret.isprintable()):
            raise SpecError(
                f"{shown}: the secret of connection {connection.name!r} holds characters that no "
                "request can carry"
            )
        name = connection.options.get("token_header")
        headers[name or "authorization"] = secret if name else f"Bearer {secret}"
    try:
        return httpx.Client(
            headers=headers,
            auth=auth,
            proxy=connection.options.get("proxy"),
            verify=_verification(connection.options.get("ca_file")),
            trust_env=False,
        )
    except (OSError, ValueError) as error:
        raise SpecError(
            f"{shown}: connection {connection.name!r}: {connection.hide_secrets(error)}"
        ) from None


def _verification(ca_file: str | None) -> ssl.SSLContext | bool:
    return True if ca_file is None else ssl.create_default_context(cafile=ca_file)
