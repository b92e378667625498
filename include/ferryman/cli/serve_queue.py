"""`ferryman serve-queue`: answers a stream of requests with a model that a server serves."""

import logging
import os
import secrets
import signal
import socket
from types import FrameType
from typing import Annotated

import typer

from ferryman.catalog import find_model
from ferryman.cli.options import ModelOption
from ferryman.errors import SpecError
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.runtime.endpoints import endpoint_of
from ferryman.runtime.json_logs import set_up_logs
from ferryman.settings import Settings, load_settings
from ferryman.spec.servers import find_server
from ferryman.steps.model_servers import endpoint_for


def serve_queue(
    model: ModelOption,
    requests: Annotated[str, typer.Option(help="Stream that requests come on.")],
    answers: Annotated[str, typer.Option(help="Stream that answers go on.")],
    connection: Annotated[str, typer.Option(help="Connection to Redis, by name.")] = "queue",
    server: Annotated[str, typer.Option(help="Declared server; default: the model's.")] = "",
    url: Annotated[str, typer.Option(help="Address of a server that is not declared.")] = "",
    batch: Annotated[int, typer.Option(min=1, max=1000, help="Messages scored together.")] = 64,
    claim_after: Annotated[
        float, typer.Option(min=0.1, help="Seconds after which a dead worker's messages are taken.")
    ] = 30.0,
    window: Annotated[
        int, typer.Option(min=1, help="Seconds in which an id is answered once.")
    ] = 86_400,
    longest: Annotated[
        int, typer.Option(min=1000, help="Answers that the stream keeps, at least.")
    ] = 1_000_000,
    keep_requests: Annotated[
        bool, typer.Option(help="Leave answered requests in their stream.")
    ] = False,
    metrics_port: Annotated[int, typer.Option(help="Port of /metrics; 0: none.")] = 0,
) -> None:
    """Answer requests from one stream on another, each id once, until SIGTERM."""
    from ferryman.serving.queueing.queue_metrics import QueueMetrics
    from ferryman.serving.queueing.scorer import QueueScorer
    from ferryman.serving.queueing.streams import QueueStreams, Topics
    from ferryman.serving.queueing.worker import QueueWorker

    settings = load_settings()
    topics = Topics(
        requests=requests,
        answers=answers,
        group=f"ferryman:{model}",
        claim_after=int(claim_after * 1000),
        window=window,
        longest=longest,
        keep_requests=keep_requests,
    )
    if len({topics.requests, topics.answers, topics.dead}) < 3:
        raise SpecError("requests, answers and dead letters go on streams of different names")
    where = url.rstrip("/") or _address(settings, model, server)
    given = DeclaredConnections(settings).get(connection)
    consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    streams = QueueStreams(given, topics, consumer)
    metrics = QueueMetrics(model)
    set_up_logs("queue worker", level=logging.WARNING, private=True)
    logging.getLogger("ferryman.serving").setLevel(logging.INFO)
    page = metrics.serve(settings.serving_host, metrics_port) if metrics_port else None
    with QueueScorer(where, model) as scorer:
        worker = QueueWorker(streams, scorer, metrics, batch=batch, longest=longest)

        def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what signal gives
            worker.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        try:
            worker.run()
        finally:
            streams.close()
            if page is not None:
                page.shutdown()


def _address(settings: Settings, model: str, server: str) -> str:
    """Where the model is served; SpecError (exit 2) for a model or server that is not declared."""
    spec = find_model(settings.zoo, model).spec
    if server:
        return endpoint_of(settings, server, find_server(settings.zoo, server)).url
    return endpoint_for(settings, spec).url
