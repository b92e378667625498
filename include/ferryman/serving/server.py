"""Runs both ports of the serving process in one event loop, from start to clean end."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Iterator

import uvicorn

from ferryman.errors import DependencyUnavailable
from ferryman.runtime.ports import holder_of
from ferryman.serving.admin_app import make_admin_app
from ferryman.serving.admin_token import make_token
from ferryman.serving.log_writer import PredictionLog
from ferryman.serving.metrics import ServingMetrics
from ferryman.serving.prediction_app import PredictionApp
from ferryman.serving.served_models import ServedModels
from ferryman.settings import Settings

_KEEP_ALIVE = 60
_GRACE = 5

logger = logging.getLogger(__name__)


class _QuietServer(uvicorn.Server):
    """Two servers share one process: signals are handled once, by `serve`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(settings: Settings) -> None:
    """Serve until TERM or INT; DependencyUnavailable (exit 6) when a port is taken."""
    import uvloop

    public = listen(settings.serving_host, settings.serving_port)
    admin = listen(settings.serving_host, settings.serving_admin_port)
    with public, admin, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, public, admin))


async def serve(settings: Settings, public: socket.socket, admin: socket.socket) -> None:
    """Answer on two listening sockets until a signal comes; then end cleanly, log flushed."""
    metrics = ServingMetrics()
    served = ServedModels(settings.serving_root, settings.bundles_root, settings.signing_public_key)
    log = PredictionLog(settings.predictions_root, metrics.dropped)
    token = make_token(settings.serving_token_file)
    app = PredictionApp(served, log, metrics)
    servers = [
        _QuietServer(_config(app)),
        _QuietServer(_config(make_admin_app(served, log, metrics, token))),
    ]
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, _end, servers)
    log.start()
    # The ports answer while models load: alive, but not ready before golden rows passed.
    tasks = [
        asyncio.create_task(server.serve(sockets=[port]))
        for server, port in zip(servers, (public, admin), strict=True)
    ]
    try:
        await asyncio.to_thread(served.restore)
        # What is alive now stays: the collector need not look at it again with every thousandth
        # request, and requests make no cycles of their own.
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)
        for model in served.loaded:
            metrics.serving(model.identity.name, model.identity.version, model.identity.epoch)
        logger.info("serving %d models on %s", len(served.loaded), settings.serving_url)
    except BaseException:
        _end(servers)
        raise
    finally:
        await asyncio.gather(*tasks)
        app.close()
        await asyncio.to_thread(log.close)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; DependencyUnavailable (exit 6) names a taken port and its holder."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise DependencyUnavailable(
            f"port {port} on {host} cannot be used: {error.strerror}{holder_of(port)}",
            remedy="Stop its holder, or choose another FERRYMAN_SERVING_PORT.",
        ) from error
    listener.setblocking(False)
    return listener


def _config(app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_GRACE,
    )


def _end(servers: list[_QuietServer]) -> None:
    for server in servers:
        server.should_exit = True
