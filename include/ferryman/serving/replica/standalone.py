"""The replica that stands alone: one process on a port, no front and no administration."""

import asyncio
import logging
import signal
import socket

from ferryman.serving.replica.replica import Answering, ReplicaOptions
from ferryman.serving.sockets.handed_connections import Connections
from ferryman.serving.sockets.listening import Accepting, listen

logger = logging.getLogger(__name__)


def run_standalone(options: ReplicaOptions, host: str, port: int) -> None:
    """Serve what `root` remembers until TERM or INT; exit 6 when the port is taken."""
    import uvloop

    with (
        listen(host, port) as listener,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_serve(options, listener))


async def _serve(options: ReplicaOptions, listener: socket.socket) -> None:
    parts = Answering(options)
    app = parts.app()
    connections = Connections(app, lambda: None)
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    # The port answers while models load: alive, but not ready before golden rows passed.
    accepting = Accepting(listener, connections.take)
    await parts.load()
    logger.info("serving %d models on %s port %d", len(parts.served.loaded), *_address(listener))
    await ending.wait()
    accepting.stop()
    connections.leave()
    await parts.answer_begun(connections)
    app.close()
    await asyncio.to_thread(parts.log.close)


def _address(listener: socket.socket) -> tuple[str, int]:
    host, port = listener.getsockname()[:2]
    return str(host), int(port)
