"""What the server counts, with labels from bounded sets: loaded models, routes, code classes."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
UNKNOWN = "unknown"


class ServingMetrics:
    """The counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "ferryman_requests", "Requests.", ["model", "route", "code"], registry=self.registry
        )
        self._latency = Histogram(
            "ferryman_request_seconds",
            "Seconds from the first byte read to the answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._predictions = Counter(
            "ferryman_predictions", "Rows that were scored.", ["model"], registry=self.registry
        )
        self._dropped = Counter(
            "ferryman_prediction_log_dropped",
            "Rows that were answered but could not be logged.",
            registry=self.registry,
        )
        self._epoch = Gauge(
            "ferryman_model_epoch", "Served epoch.", ["model"], registry=self.registry
        )
        self._version = Gauge(
            "ferryman_model_version", "Served version.", ["model"], registry=self.registry
        )
        # Looking a label set up costs more than counting: keep the children.
        self._children: dict[tuple[str, str, int], Counter] = {}
        self._timers: dict[str, Histogram] = {}
        self._scored: dict[str, Counter] = {}

    def count(self, model: str, route: str, status: int, seconds: float) -> None:
        """Record one answered request; `model` must be a loaded model's name or UNKNOWN."""
        key = (model, route, status // 100)
        child = self._children.get(key)
        if child is None:
            child = self._requests.labels(model, route, f"{status // 100}xx")
            self._children[key] = child
        child.inc()
        timer = self._timers.get(route)
        if timer is None:
            timer = self._timers[route] = self._latency.labels(route)
        timer.observe(seconds)

    def scored(self, model: str, rows: int) -> None:
        """Record scored rows."""
        child = self._scored.get(model)
        if child is None:
            child = self._scored[model] = self._predictions.labels(model)
        child.inc(rows)

    def dropped(self, rows: int) -> None:
        """Record rows that the prediction log lost."""
        self._dropped.inc(rows)

    def serving(self, model: str, version: int, epoch: int) -> None:
        """Record which version a model serves."""
        self._version.labels(model).set(version)
        self._epoch.labels(model).set(epoch)

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
