"""What the server counts of each version of a model: how many answers, how quick, how many errors.

Bounds grow by an eighth of an octave, so that a quantile that Prometheus reads off them is within
5 % of the exact one. Counters are kept of the newest versions alone: a replica outlives many.
"""

from typing import Any

from ferryman.serving.answering.distribution import Distribution

_KEPT = 4  # versions of a model: champion, candidate, and those before them
# 0.25 ms to 4.1 s
_SECONDS = tuple(round(0.00025 * 2 ** (step / 8), 9) for step in range(113))


class VersionCounts:
    """Counters by model and version, since this process began. Of the event loop."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, int], Distribution] = {}
        self._errors: dict[tuple[str, int], int] = {}

    def answered(self, model: str, version: int, seconds: float) -> None:
        """Count an answered request."""
        timer = self._seconds.get((model, version))
        if timer is None:
            timer = self._begin(model, version)
        timer.observe(seconds)

    def failed(self, model: str, version: int) -> None:
        """Count a request that a version could not answer."""
        if (model, version) not in self._seconds:
            self._begin(model, version)
        self._errors[model, version] += 1

    def _begin(self, model: str, version: int) -> Distribution:
        """The counters of a version that is new here; the oldest one's are dropped."""
        known = [key for key in self._seconds if key[0] == model]
        for key in known[: max(0, len(known) - _KEPT + 1)]:
            del self._seconds[key], self._errors[key]
        self._errors[model, version] = 0
        timer = self._seconds[model, version] = Distribution(_SECONDS)
        return timer

    def families(self) -> list[Any]:
        """Prometheus' families."""
        from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily

        names = ["model", "version"]
        seconds = HistogramMetricFamily(
            "ferryman_version_seconds",
            "Seconds to the answers of a version, to be read as quantiles.",
            labels=names,
        )
        for (model, version), timer in list(self._seconds.items()):
            seconds.add_metric([model, str(version)], *timer.buckets())
        errors = CounterMetricFamily(
            "ferryman_version_errors", "Requests that a version could not answer.", labels=names
        )
        for (model, version), number in list(self._errors.items()):
            errors.add_metric([model, str(version)], number)
        return [seconds, errors]
