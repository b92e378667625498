"""Airflow with the variables of docs/dashboards.md sends its own metrics by OTLP over HTTP."""

import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from services.server_thread import in_thread

PATH = "/api/v1/otlp/v1/metrics"  # of Prometheus 3
# As the scheduler begins.
SENDING = """
from airflow._shared.observability.metrics import stats
from airflow.configuration import conf
from airflow.observability.metrics import stats_utils
stats.initialize(
    factory=stats_utils.get_stats_factory(),
    export_legacy_names=conf.getboolean("metrics", "legacy_names_on"),
)
stats.incr("scheduler_heartbeat", 1, 1)
stats.gauge("pool.open_slots", 7, tags={"pool_name": "default_pool"})
"""


@pytest.mark.timeout(120)
def test_counters_and_gauges_of_airflow_arrive_with_their_labels(tmp_path: Path) -> None:
    came: list[tuple[str, bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    with in_thread(server):
        _send(tmp_path, f"http://127.0.0.1:{server.server_address[1]}{PATH}")
    assert {path for path, _ in came} == {PATH}
    points = _points(came[-1][1])
    assert points["airflow.scheduler_heartbeat", ""] == 1
    assert points["airflow.pool.open_slots", "default_pool"] == 7


def _send(home: Path, endpoint: str) -> None:
    given = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": endpoint,
    }
    done = subprocess.run(
        [sys.executable, "-c", SENDING], env=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _points(body: bytes) -> dict[tuple[str, str], float]:
    """Values by metric and pool, as the protocol's own library reads them."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

    found: dict[tuple[str, str], float] = {}
    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        for metric in (one for scope in resource.scope_metrics for one in scope.metrics):
            kind: Any = metric.sum if metric.HasField("sum") else metric.gauge
            for point in kind.data_points:
                tags = {pair.key: pair.value.string_value for pair in point.attributes}
                value = point.as_double or float(point.as_int)
                found[metric.name, tags.get("pool_name", "")] = value
    return found
