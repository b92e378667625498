"""Figures from two readings of a server's own page of metrics, where there is no Prometheus."""

import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from ferryman.deployment.autoscaling.decision import Figures, ReplicaFigures
from ferryman.deployment.autoscaling.figures import (
    CPU,
    FRONT,
    IN_FLIGHT,
    NO_PREDICTIONS,
    QUANTILE,
    REPLICAS,
    REQUESTS,
    SECONDS,
    fetch_metrics,
)
from ferryman.errors import DependencyUnavailable

_WINDOW = 30.0  # seconds that are looked back at most
_PAUSE = 5.0  # seconds between the first two readings


@dataclass(frozen=True)
class _Page:
    """One reading: counters by replica, the histogram's by (replica, upper bound)."""

    at: float
    cpu: Mapping[str, float]
    requests: Mapping[str, float]
    buckets: Mapping[tuple[str, float], float]
    in_flight: Mapping[str, float]
    ready: int | None


class ScrapedFigures:
    """Reads `<url>/metrics` now and compares it with the oldest reading of the last 30 seconds.

    The first call waits five seconds for a second reading. `cores` are those of a replica.
    """

    def __init__(
        self,
        url: str,
        *,
        cores: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url, self._cores = url, cores
        self._clock, self._sleep = clock, sleep
        self._pages: deque[_Page] = deque()

    def read(self) -> Figures:
        """The figures between two readings; DependencyUnavailable (exit 6) without a server."""
        now = self._clock()
        while self._pages and now - self._pages[0].at > _WINDOW:
            self._pages.popleft()
        if not self._pages or now - self._pages[0].at < 1:
            self._pages.append(self._page())
            self._sleep(_PAUSE)
        page = self._page()
        self._pages.append(page)
        return _between(self._pages[0], _latest(self._pages), self._cores)

    def _page(self) -> _Page:
        at = self._clock()
        return _parse(fetch_metrics(self._url), at)


def _parse(text: str, at: float) -> _Page:
    from prometheus_client.parser import text_string_to_metric_families

    cpu: dict[str, float] = {}
    requests: dict[str, float] = defaultdict(float)
    buckets: dict[tuple[str, float], float] = defaultdict(float)
    in_flight: dict[str, float] = {}
    ready: int | None = None
    try:
        samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    except ValueError as error:
        raise DependencyUnavailable(f"the page of metrics cannot be read: {error}") from error
    for sample in samples:
        labels, value = sample.labels, float(sample.value)
        replica = labels.get("replica", "")
        if sample.name == REPLICAS and labels.get("state") == "ready":
            ready = int(value)
        if replica in ("", FRONT) or labels.get("route") in NO_PREDICTIONS:
            continue
        if sample.name == CPU:
            cpu[replica] = value
        elif sample.name == IN_FLIGHT:
            in_flight[replica] = value
        elif sample.name == REQUESTS:
            requests[replica] += value
        elif sample.name == SECONDS:
            buckets[replica, float(labels["le"])] += value
    return _Page(at, cpu, requests, buckets, in_flight, ready)


def _latest(pages: Iterable[_Page]) -> _Page:
    """The newest reading, with the last counters of replicas that have gone meanwhile."""
    merged, *later = pages
    for page in later:
        merged = replace(
            page,
            cpu={**merged.cpu, **page.cpu},
            requests={**merged.requests, **page.requests},
            buckets={**merged.buckets, **page.buckets},
        )
    return merged


def _between(old: _Page, new: _Page, cores: float) -> Figures:
    """What happened from one reading to the next."""
    seconds = max(new.at - old.at, 1e-3)
    slow: dict[float, float] = defaultdict(float)
    for (replica, bound), value in new.buckets.items():
        slow[bound] += _grown(old.buckets.get((replica, bound)), value)
    p95 = quantile(QUANTILE, slow)
    replicas = {
        name: ReplicaFigures(
            # What a new replica used to start is no load.
            cpu=(
                _grown(old.cpu[name], new.cpu[name]) / seconds / cores
                if name in old.cpu and name in new.cpu
                else None
            ),
            requests=_grown(old.requests.get(name), new.requests.get(name, 0.0)) / seconds,
        )
        for name in {**new.requests, **new.in_flight}
    }
    return Figures(
        window=seconds,
        replicas=replicas,
        ready=new.ready,
        p95_ms=None if p95 is None else p95 * 1000,
        in_flight=sum(new.in_flight.values()),
    )


def _grown(before: float | None, now: float) -> float:
    """How much a counter grew; one that fell began anew."""
    return now if before is None or now < before else now - before


def quantile(share: float, buckets: Mapping[float, float]) -> float | None:
    """A quantile of a histogram of cumulative counts by upper bound; None when it is empty.

    Linear within a bucket, as histogram_quantile of Prometheus; beyond the last finite bound it is
    that bound.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return None
    rank, below, lower = share * total, 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= rank:
            if math.isinf(bound):
                return lower
            within = (rank - below) / (count - below) if count > below else 1.0
            return lower + (bound - lower) * within
        below, lower = count, bound
    return lower
