"""The queries that scale a server, answered by Prometheus's own engine (promtool, Debian's)."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from services.cluster_world import server_spec

from ferryman.deployment.cluster.autoscaling import latency_query, requests_query
from ferryman.deployment.cluster.workload import Workload
from ferryman.runtime.connection_url import parse_connection
from ferryman.spec.servers import LatencyFeedback

WORKLOAD = Workload("main", server_spec(), parse_connection("lake", "s3://bucket"))
LATENCY = latency_query(WORKLOAD, LatencyFeedback(kind="latency", p95_ms=20, release=0.5))
REQUESTS = requests_query(WORKLOAD)
PODS = ["main-6c87fcb58c-zpv46", "main-6c87fcb58c-abcde"]
# Another server's pod, as slow as can be: it must not count.
OTHER = "main-2-6c87fcb58c-zpv46"
STEP = 15  # seconds


def samples(
    pod: str, low: float, high: float, rate: int, route: str = "v1_predict"
) -> list[dict[str, str]]:
    """Every request of a pod lasted between two bounds, in seconds."""
    of = f'namespace="ferryman",pod="{pod}",route="{route}"'
    buckets = {str(low): 0, str(high): rate, "+Inf": rate}
    counts = {f'_bucket{{{of},le="{bound}"}}': count for bound, count in buckets.items()}
    counts[f"_count{{{of}}}"] = rate
    named = {f"ferryman_request_seconds{name}": count for name, count in counts.items()}
    named[f'ferryman_requests_total{{{of},code="200"}}'] = rate
    return [{"series": name, "values": f"0+{count}x60"} for name, count in named.items()]


@pytest.mark.parametrize(
    ("bounds", "rate", "latency", "requests"),
    [
        ((0.04, 0.08), 150, 78, 20),  # above the target: the percentile itself
        ((0.01, 0.02), 150, 20, 20),  # between release and target: the target, nothing changes
        ((0.002, 0.004), 150, 7.8, 20),  # below: the percentile as a share of the lower bound
        ((0.002, 0.004), 0, 0, 0),  # nobody asks
        (None, 0, None, None),  # no data: no answer, and the count stays
    ],
)
def test_what_an_autoscaler_is_told(
    tmp_path: Path, bounds: Any, rate: int, latency: float | None, requests: float | None
) -> None:
    series = samples(OTHER, 1.0, 2.0, 900)
    for pod in PODS if bounds else []:
        series += samples(pod, *bounds, rate) if rate else []
        series += samples(pod, 0.0001, 0.0002, 3, "ready")  # its probes count for nothing
    asked = [(LATENCY, latency), (REQUESTS, requests)]
    tests = [
        {
            "expr": query,
            "eval_time": "10m",
            "exp_samples": [] if value is None else [{"labels": "{}", "value": value}],
        }
        for query, value in asked
    ]
    file = tmp_path / "queries.yaml"
    case = {"interval": f"{STEP}s", "input_series": series, "promql_expr_test": tests}
    file.write_text(yaml.safe_dump({"evaluation_interval": f"{STEP}s", "tests": [case]}))
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
