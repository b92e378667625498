"""What the server counts. Labels come from bounded sets: loaded models, routes, code classes.

Counting happens on the path of every answer, so it is a dictionary and a few whole numbers; the
library that writes Prometheus' text is loaded when somebody asks for the page.
"""

import asyncio
import importlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ferryman.serving.answering.distribution import Distribution
from ferryman.serving.answering.variant_counts import VariantCounts
from ferryman.serving.answering.version_counts import VersionCounts
from ferryman.serving.models.labels import CHAMPION

if TYPE_CHECKING:
    from ferryman.serving.models.onnx_model import OnnxModel

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096, 10_000)
UNKNOWN = "unknown"
# A model that answers, and what it is called: champion, or the variant that it is.
Loaded = tuple["OnnxModel", str]


class ServingMetrics:
    """The counters of one replica. All but `dropped` belong to the event loop's thread.

    With a `replica` every sample carries its name; without one, who merges pages adds it.
    """

    def __init__(self, replica: str = "") -> None:
        self._labels = {"replica": replica} if replica else {}
        self.in_flight = 0
        self.waiting_rows = 0
        self.variants = VariantCounts()
        self.versions = VersionCounts()
        # Asked when the page is made: they know it themselves.
        self.models: Callable[[], Iterable[Loaded]] = list
        self.log_queue: Callable[[], int] = int
        self._requests: dict[tuple[str, str, int], int] = {}
        self._seconds: dict[tuple[str, str], Distribution] = {}
        self._predictions: dict[str, int] = {}
        self._labelled: dict[str, int] = {}
        self._batches: dict[str, Distribution] = {}
        self._dropped = 0
        self._lock = threading.Lock()

    def count(self, model: str, route: str, status: int, seconds: float) -> None:
        """Record one answered request; `model` must be a loaded model's name or UNKNOWN."""
        key = (model, route, status // 100)
        self._requests[key] = self._requests.get(key, 0) + 1
        timer = self._seconds.get(key[:2])
        if timer is None:
            timer = self._seconds[key[:2]] = Distribution(_SECONDS)
        timer.observe(seconds)

    def scored(self, model: str, rows: int) -> None:
        """Record rows that were answered."""
        self._predictions[model] = self._predictions.get(model, 0) + rows

    def labelled(self, model: str, rows: int) -> None:
        """Record labels that were posted and kept."""
        self._labelled[model] = self._labelled.get(model, 0) + rows

    def ran(self, model: str, rows: int) -> None:
        """Record one run of a model; it may answer several requests."""
        batches = self._batches.get(model)
        if batches is None:
            batches = self._batches[model] = Distribution(_ROWS)
        batches.observe(rows)

    def dropped(self, rows: int) -> None:
        """Record rows that the prediction log lost; from any thread."""
        with self._lock:
            self._dropped += rows

    async def written_page(self) -> bytes:
        """The text that Prometheus reads; what writes it is loaded beside the loop, once."""
        await asyncio.to_thread(importlib.import_module, "prometheus_client")
        return self.page()

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        from prometheus_client import generate_latest

        # It asks for `collect` only.
        return generate_latest(self) + self.versions.text(self._labels).encode()

    def collect(self) -> Iterator[Any]:
        """Prometheus' families, but for those by version."""
        from prometheus_client.process_collector import ProcessCollector

        for family in [
            *self._traffic(),
            *self._state(),
            *self.variants.families(),
            *ProcessCollector(registry=None).collect(),
        ]:
            family.samples = [
                sample._replace(labels={**sample.labels, **self._labels})
                for sample in family.samples
            ]
            yield family

    def _traffic(self) -> list[Any]:
        from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily

        requests = CounterMetricFamily(
            "ferryman_requests", "Requests.", labels=["model", "route", "code"]
        )
        for (model, route, code), number in list(self._requests.items()):
            requests.add_metric([model, route, f"{code}xx"], number)
        seconds = HistogramMetricFamily(
            "ferryman_request_seconds",
            "Seconds from the loop's turn that read the request to its answer.",
            labels=["model", "route"],
        )
        for names, timer in list(self._seconds.items()):
            seconds.add_metric(list(names), *timer.buckets())
        rows = CounterMetricFamily(
            "ferryman_predictions", "Rows that were answered.", labels=["model"]
        )
        for model, number in list(self._predictions.items()):
            rows.add_metric([model], number)
        labels = CounterMetricFamily(
            "ferryman_posted_labels", "Labels that were posted and kept.", labels=["model"]
        )
        for model, number in list(self._labelled.items()):
            labels.add_metric([model], number)
        batches = HistogramMetricFamily(
            "ferryman_batch_rows", "Rows of one run of a model.", labels=["model"]
        )
        for model, batch in list(self._batches.items()):
            batches.add_metric([model], *batch.buckets())
        dropped = CounterMetricFamily(
            "ferryman_prediction_log_dropped",
            "Rows that were answered but could not be logged.",
            value=self._dropped,
        )
        return [requests, seconds, rows, labels, batches, dropped]

    def _state(self) -> list[Any]:
        from prometheus_client.metrics_core import GaugeMetricFamily

        loaded = list(self.models())
        epochs = GaugeMetricFamily("ferryman_model_epoch", "Served epoch.", labels=["model"])
        for model, variant in loaded:
            if variant == CHAMPION:
                epochs.add_metric([model.identity.name], model.identity.epoch)
        return [
            epochs,
            model_infos(loaded),
            GaugeMetricFamily(
                "ferryman_requests_in_flight", "Requests that wait.", value=self.in_flight
            ),
            GaugeMetricFamily(
                "ferryman_scoring_queue", "Rows that wait to be scored.", value=self.waiting_rows
            ),
            GaugeMetricFamily(
                "ferryman_prediction_log_queue",
                "Rows that wait to be logged.",
                value=self.log_queue(),
            ),
        ]


def model_infos(loaded: Iterable[Loaded]) -> Any:
    """Prometheus' family of who answers; a candidate is one while it has a share."""
    from prometheus_client.metrics_core import GaugeMetricFamily

    infos = GaugeMetricFamily(
        "ferryman_model_info",
        "Which versions of a model answer, and as what.",
        labels=["model", "version", "variant", "digest", "task"],
    )
    for model, variant in loaded:
        found, task = model.identity, model.signature.task
        infos.add_metric([found.name, str(found.version), variant, found.digest, task], 1)
    return infos
