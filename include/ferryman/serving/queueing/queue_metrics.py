"""What a worker of a queue counts, and the page that shows it."""

from typing import Any

OUTCOMES = ("answered", "error", "again", "other", "dead")


class QueueMetrics:
    """Counters of one worker. Outcomes: answered; error, a refusal that was answered; again, an id
    that had been answered before; other, settled by another worker; dead, a dead letter.
    """

    def __init__(self, model: str) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge

        self._registry = CollectorRegistry()
        messages = Counter(
            "ferryman_queue_messages",
            "Messages that were settled, by outcome.",
            ["model", "outcome"],
            registry=self._registry,
        )
        self._messages = {outcome: messages.labels(model, outcome) for outcome in OUTCOMES}
        self._waited = Counter(
            "ferryman_queue_pauses",
            "Pauses since Redis or the server was away.",
            ["model"],
            registry=self._registry,
        ).labels(model)
        self._waiting = Gauge(
            "ferryman_queue_waiting",
            "Messages that no worker has taken yet.",
            ["model"],
            registry=self._registry,
        ).labels(model)

    def serve(self, host: str, port: int) -> Any:
        """Show the page at http://host:port/metrics; gives the server, which `shutdown` ends."""
        from prometheus_client import start_http_server

        server, _ = start_http_server(port, host, registry=self._registry)
        return server

    def settled(self, outcome: str) -> None:
        """Count one message."""
        self._messages[outcome].inc()

    def waited(self) -> None:
        """Count one pause."""
        self._waited.inc()

    def waiting(self, messages: int) -> None:
        """Tell how many messages wait."""
        self._waiting.set(messages)
