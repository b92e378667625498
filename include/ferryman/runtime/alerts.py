"""Tells people by one POST to the connection `alerts`, where one is defined.

The channel is any address that takes JSON by POST. A dead one costs PATIENCE seconds and nothing
else. The steps of the domain say `alert`; failed tasks of Airflow are told by `send`, too.
"""

import logging
import threading
from collections.abc import Mapping

from pydantic import JsonValue

from ferryman.errors import FerrymanError
from ferryman.runtime.connections import Connection, Connections
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.settings import Settings

CHANNEL = "alerts"
PATIENCE = 5.0  # seconds, from the look-up of the address to the answer
_TITLE, _TEXT = 200, 2000  # characters

logger = logging.getLogger(__name__)


def alert(
    settings: Settings,
    title: str,
    text: str,
    facts: Mapping[str, JsonValue],
    connections: Connections | None = None,
) -> bool:
    """Log an alert and post it to the channel; whether it arrived. Raises nothing.

    Facts are figures and names for machines (rule, version, epoch, remedy, link); they stand beside
    `title` and `text` in the message. Connections are the installation's unless others are given.
    """
    message: dict[str, JsonValue] = {
        **facts,
        "title": title[:_TITLE],
        "text": text[:_TEXT],
    }
    logger.error("ALERT %s: %s", message["title"], message["text"])
    return send(message, connections or DeclaredConnections(settings))


def send(
    message: Mapping[str, JsonValue], connections: Connections, *, patience: float = PATIENCE
) -> bool:
    """Post a message to the channel, if there is one; whatever goes wrong is logged."""
    arrived = threading.Event()
    # A server that answers a byte a second keeps any socket's own time-out from running out.
    sender = threading.Thread(
        target=_deliver,
        args=(message, connections, patience, arrived),
        name="ferryman-alert",
        daemon=True,
    )
    sender.start()
    sender.join(patience)
    if sender.is_alive():
        logger.warning("no alert was sent: connection %r did not answer in time", CHANNEL)
    return arrived.is_set()


def _deliver(
    message: Mapping[str, JsonValue],
    connections: Connections,
    patience: float,
    arrived: threading.Event,
) -> None:
    try:
        if _post(message, connections.get(CHANNEL), patience):
            arrived.set()
    except FerrymanError as error:
        logger.info("no alert was sent: %s", error.text)
    except Exception as error:  # noqa: BLE001 - a broken channel may not break anything else
        # The kind alone: an address may itself be a secret.
        logger.warning("no alert was sent to %r: %s", CHANNEL, type(error).__name__)


def _post(message: Mapping[str, JsonValue], channel: Connection, patience: float) -> bool:
    from ferryman.runtime.http_client import open_client

    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses
    with (
        open_client(channel, CHANNEL) as client,
        client.stream("POST", channel.url, json=dict(message), timeout=patience) as answer,
    ):
        if answer.is_success:
            logger.info("an alert was sent to %r", CHANNEL)
        else:
            logger.warning("connection %r answered an alert with %d", CHANNEL, answer.status_code)
        return answer.is_success
