"""What the server counts of variants, while a candidate has a share of a model's traffic."""

from collections.abc import Callable, Iterable
from typing import Any

from ferryman.serving.answering.distribution import Distribution

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)


class VariantCounts:
    """Counters by model and variant, since this process began. Of the event loop.

    `weights` tells of (model, variant, weight) for every share that there is now.
    """

    def __init__(self) -> None:
        self.weights: Callable[[], Iterable[tuple[str, str, float]]] = list
        self._requests: dict[tuple[str, str], int] = {}
        self._errors: dict[tuple[str, str], int] = {}
        self._seconds: dict[tuple[str, str], Distribution] = {}
        self._dropped: dict[str, int] = {}

    def answered(self, model: str, variant: str, seconds: float) -> None:
        """Count an answered request."""
        key = (model, variant)
        self._requests[key] = self._requests.get(key, 0) + 1
        timer = self._seconds.get(key)
        if timer is None:
            timer = self._seconds[key] = Distribution(_SECONDS)
        timer.observe(seconds)

    def failed(self, model: str, variant: str) -> None:
        """Count a request that a variant could not answer."""
        key = (model, variant)
        self._requests[key] = self._requests.get(key, 0) + 1
        self._errors[key] = self._errors.get(key, 0) + 1

    def dropped(self, model: str) -> None:
        """Count a request that a shadow was not sent."""
        self._dropped[model] = self._dropped.get(model, 0) + 1

    def families(self) -> list[Any]:
        """Prometheus' families."""
        from prometheus_client.metrics_core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        names = ["model", "variant"]
        requests = CounterMetricFamily(
            "ferryman_variant_requests",
            "Requests that a variant was drawn for, while a candidate had a share.",
            labels=names,
        )
        errors = CounterMetricFamily(
            "ferryman_variant_errors", "Those of them that it could not answer.", labels=names
        )
        for family, counts in ((requests, self._requests), (errors, self._errors)):
            for key, number in list(counts.items()):
                family.add_metric(list(key), number)
        seconds = HistogramMetricFamily(
            "ferryman_variant_seconds", "Seconds to their answers.", labels=names
        )
        for key, timer in list(self._seconds.items()):
            seconds.add_metric(list(key), *timer.buckets())
        weights = GaugeMetricFamily(
            "ferryman_traffic_weight", "A candidate's share of the requests.", labels=names
        )
        for model, variant, weight in self.weights():
            weights.add_metric([model, variant], weight)
        dropped = CounterMetricFamily(
            "ferryman_shadow_dropped", "Requests that a shadow was not sent.", labels=["model"]
        )
        for model, number in list(self._dropped.items()):
            dropped.add_metric([model], number)
        return [requests, errors, seconds, weights, dropped]
