"""Tells people, on channels: connections that are an address for JSON, or any address of apprise.

A channel `https://...` gets one POST of JSON; one that is `apprise+SCHEME://...` gets a title and a
text by that library (chats, mail, pagers). A dead, slow or lying channel costs PATIENCE seconds and
nothing else. The steps of the domain say `alert`; tasks of Airflow are told of by `send`, too.
"""

import logging
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from ferryman.errors import FerrymanError, SpecError
from ferryman.runtime.connection_url import APPRISE
from ferryman.runtime.connections import Connection, Connections
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.settings import Settings
from ferryman.spec.notify import DEFAULT_CHANNEL, NotifySpec, Severity

CHANNEL = DEFAULT_CHANNEL
PATIENCE = 5.0  # seconds, from the look-up of the addresses to the last answer
_TITLE, _TEXT, _FACT = 200, 2000, 300  # characters
_KINDS: Mapping[str, str] = {"info": "info", "warning": "warning", "critical": "failure"}

logger = logging.getLogger(__name__)


def alert(  # noqa: PLR0913 - what alerts differ in
    settings: Settings,
    title: str,
    text: str,
    facts: Mapping[str, JsonValue],
    connections: Connections | None = None,
    *,
    notify: NotifySpec | None = None,
    severity: Severity = "critical",
) -> bool:
    """Log an alert and send it to the channels; whether one took it. Raises nothing.

    Facts are figures and names for machines (rule, version, epoch, remedy, link); they stand beside
    `title` and `text` in the message. Connections are the installation's unless others are given,
    and `notify` says which of them are told; without it that is the channel `alerts`.
    """
    message: dict[str, JsonValue] = {
        **facts,
        "title": title[:_TITLE],
        "text": text[:_TEXT],
    }
    logger.error("ALERT %s: %s", message["title"], message["text"])
    channels = (notify or NotifySpec()).channels_for("alert", severity)
    return send(message, connections or DeclaredConnections(settings), channels=channels)


def send(
    message: Mapping[str, JsonValue],
    connections: Connections,
    *,
    patience: float = PATIENCE,
    channels: Sequence[str] = (CHANNEL,),
) -> bool:
    """Send a message to each channel that is defined; whether one took it.

    Whatever goes wrong is logged. `severity` of the message (info, warning, critical) is critical
    where it says none.
    """
    # A server that answers a byte a second keeps any socket's own time-out from running out.
    arrived: list[str] = []
    senders = [
        threading.Thread(
            target=_deliver,
            args=(message, connections, name, patience, arrived),
            name=f"ferryman-alert-{name}",
            daemon=True,
        )
        for name in channels
    ]
    for sender in senders:
        sender.start()
    deadline = time.monotonic() + patience
    for name, sender in zip(channels, senders, strict=True):
        sender.join(max(0.0, deadline - time.monotonic()))
        if sender.is_alive():
            logger.warning("no alert was sent: connection %r did not answer in time", name)
    return bool(arrived)


def _deliver(
    message: Mapping[str, JsonValue],
    connections: Connections,
    name: str,
    patience: float,
    arrived: list[str],
) -> None:
    try:
        channel = connections.get(name)
        by_apprise = channel.scheme == APPRISE
        if _tell(message, channel) if by_apprise else _post(message, channel, patience):
            arrived.append(name)
    except FerrymanError as error:
        logger.info("no alert was sent: %s", error.text)
    except Exception as error:  # noqa: BLE001 - a broken channel may not break anything else
        # The kind alone: an address may itself be a secret.
        logger.warning("no alert was sent to %r: %s", name, type(error).__name__)


def _post(message: Mapping[str, JsonValue], channel: Connection, patience: float) -> bool:
    from ferryman.runtime.http_client import open_client

    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses
    with (
        open_client(channel, channel.name) as client,
        client.stream("POST", channel.url, json=dict(message), timeout=patience) as answer,
    ):
        if answer.is_success:
            logger.info("an alert was sent to %r", channel.name)
        else:
            logger.warning(
                "connection %r answered an alert with %d", channel.name, answer.status_code
            )
        return answer.is_success


def _tell(message: Mapping[str, JsonValue], channel: Connection) -> bool:
    """Send by apprise; SpecError (exit 2) where it knows no such address, which is not shown."""
    apprise = _apprise()
    # No plug-ins of a folder, no cache on disk; what it logs is shortened to nothing but its kind.
    asset = apprise.AppriseAsset(
        app_id="Ferryman", app_desc="Ferryman", secure_logging=True, async_mode=False
    )
    box = apprise.Apprise(asset=asset)
    if not box.add(channel.password or ""):
        raise SpecError(
            f"connection {channel.name!r} holds no address that apprise knows",
            remedy="See https://appriseit.com/services/ for the forms of addresses.",
        )
    taken = box.notify(
        title=str(message.get("title") or _title_of(message))[:_TITLE],
        body=text_of(message),
        notify_type=_KINDS.get(str(message.get("severity")), "failure"),
        body_format=apprise.NotifyFormat.TEXT,  # nothing of it is markup, whoever wrote it
    )
    if taken:
        logger.info("an alert was sent to %r", channel.name)
    else:
        logger.warning("connection %r did not take an alert", channel.name)
    return bool(taken)


def _apprise() -> Any:
    # A module of the standard library that apprise asks for is announced as going.
    warnings.filterwarnings("ignore", message="'imghdr' is deprecated", category=DeprecationWarning)
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it logs addresses and answers
    return apprise


def text_of(message: Mapping[str, JsonValue]) -> str:
    """A message as people read it: its text, then a line a fact."""
    facts = [
        f"{key}: {_plain(value)[:_FACT]}"
        for key, value in message.items()
        if key not in ("title", "text") and value not in (None, "", [])
    ]
    return "\n".join([str(message.get("text", ""))[:_TEXT], *([""] if facts else []), *facts])


def _plain(value: JsonValue) -> str:
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)


def _title_of(message: Mapping[str, JsonValue]) -> str:
    named = [str(message[key]) for key in ("model", "task", "dag") if message.get(key)]
    return ": ".join(named[:2]) or "Ferryman"
