"""What the installation itself tells Prometheus: disk, ledger, shares nobody renews, monitoring."""

import logging
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ferryman.catalog import load_catalog
from ferryman.ledger.ledger import Ledger
from ferryman.settings import Settings
from ferryman.steps.monitoring_figures import MonitoringFigures

_VERIFIED_EVERY = 300.0  # seconds: a look at the whole ledger is dear
_GRACE = timedelta(seconds=15)  # between a lease's last moment and a controller that is just late

logger = logging.getLogger(__name__)


class GuardFigures:
    """Prometheus' families of one installation, read when somebody asks.

    `processes` says of each process of the orchestrator whether it is alive.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._problems, self._verified = 0, -_VERIFIED_EVERY
        self._monitoring = MonitoringFigures(settings)

    def page(
        self, processes: Mapping[str, bool] | None = None, further: Iterable[Any] = ()
    ) -> bytes:
        """The text that Prometheus reads; `further` are families that the orchestrator knows."""
        from prometheus_client import generate_latest

        return generate_latest(_Collected([*self.families(), _alive(processes or {}), *further]))

    def families(self) -> Iterator[Any]:
        """Gauges: what cannot be read is left out, so that its absence can be seen."""
        parts = (self._disk, self._of_ledger, self._of_monitoring, self._monitoring.of_monitoring)
        for read in parts:
            try:
                yield from read()
            except Exception:
                logger.exception("figures of %s could not be read", read.__name__.strip("_"))

    def _disk(self) -> list[Any]:
        from prometheus_client.metrics_core import GaugeMetricFamily

        home = self._settings.home
        home.mkdir(parents=True, exist_ok=True)
        used = shutil.disk_usage(home)
        return [
            GaugeMetricFamily(
                "ferryman_disk_free_bytes", "Free where FERRYMAN_HOME is.", value=used.free
            ),
            GaugeMetricFamily("ferryman_disk_size_bytes", "Size of that disk.", value=used.total),
        ]

    def _of_ledger(self) -> list[Any]:
        from prometheus_client.metrics_core import GaugeMetricFamily

        ledger = Ledger(self._settings.ledger_url)
        orphans = GaugeMetricFamily(
            "ferryman_share_orphaned",
            "1 where the ledger gives a candidate a share that nobody renews.",
            labels=["model"],
        )
        decided = GaugeMetricFamily(
            "ferryman_decided_epoch", "Epoch of the ledger's head.", labels=["model"]
        )
        for head in ledger.heads():
            decided.add_metric([head.model], head.epoch)
            orphans.add_metric([head.model], int(_is_orphaned(ledger, head.model)))
        with self._lock:
            if time.monotonic() - self._verified >= _VERIFIED_EVERY:
                self._problems, self._verified = len(ledger.verify()), time.monotonic()
        problems = GaugeMetricFamily(
            "ferryman_ledger_problems",
            "Signs that the ledger was changed behind its back.",
            value=self._problems,
        )
        return [orphans, decided, problems]

    def _of_monitoring(self) -> list[Any]:
        from prometheus_client.metrics_core import GaugeMetricFamily

        age = GaugeMetricFamily(
            "ferryman_monitoring_age_seconds",
            "Since monitoring last reported on a model that it is declared to watch.",
            labels=["model"],
        )
        ledger = Ledger(self._settings.ledger_url)
        served = {head.model for head in ledger.heads()}
        for name, declared in sorted(load_catalog(self._settings.zoo).models.items()):
            if name not in served or declared.spec.schedule.monitoring is None:
                continue
            reports = (self._settings.monitoring_root / name / "reports").glob("*.json")
            written = [file.stat().st_mtime for file in reports]
            # Nothing was ever reported: since the first release.
            since = max(written) if written else _first_release(ledger, name)
            age.add_metric([name], max(0.0, time.time() - since))
        return [age]


class _Collected:
    """Families that were read already, as Prometheus' library asks for them."""

    def __init__(self, families: Iterable[Any]) -> None:
        self._families = families

    def collect(self) -> Iterable[Any]:
        return self._families


def _alive(processes: Mapping[str, bool]) -> Any:
    from prometheus_client.metrics_core import GaugeMetricFamily

    family = GaugeMetricFamily(
        "ferryman_airflow_alive", "1 for a process of Airflow that is alive.", labels=["process"]
    )
    for name, alive in sorted(processes.items()):
        family.add_metric([name], int(alive))
    return family


def _is_orphaned(ledger: Ledger, model: str) -> bool:
    routing = ledger.routing(model)
    if routing.weight <= 0 or ledger.lease(model) is not None:
        return False
    lease = routing.lease_until
    return lease is None or datetime.now(UTC) - lease > _GRACE


def _first_release(ledger: Ledger, model: str) -> float:
    return next((op.at.timestamp() for op in ledger.history(model)), time.time())
