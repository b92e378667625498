"""A server that is killed is told of within a minute, once; and once when it is back.

Server, Prometheus and Alertmanager are real, and configured as shipped but for their addresses.
"""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from rollback_world import alert_channel
from services import alertmanager, prometheus

from ferryman.runtime.files import read_json
from ferryman.serving.front.front import FRONT_STATE

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
NAME = "FerrymanServerDown"

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not prometheus.is_installed(), reason=prometheus.MISSING),
    pytest.mark.skipif(not alertmanager.is_installed(), reason=alertmanager.MISSING),
]


def _prometheus_config(server: str, manager: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["rule_files"] = [str(DEPLOY / "prometheus" / "rules" / "server.rules.yml")]
    config["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [manager]}]
    config["scrape_configs"] = config["scrape_configs"][:1]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [server]
    return config


def _alertmanager_config(url: str) -> dict[str, Any]:
    text = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text()
    config: dict[str, Any] = yaml.safe_load(text)
    for receiver in config["receivers"]:
        receiver["webhook_configs"] = [{"url": url, "send_resolved": True}]
    return config


def _kill(root: Path) -> None:
    """The front and all its replicas at one moment, so that none brings back another."""
    front = psutil.Process(read_json(root / FRONT_STATE)["pid"])
    everyone = [front, *front.children(recursive=True)]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in everyone:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


def _seconds_until(done: Callable[[], bool], patience: float) -> float:
    began = time.monotonic()
    while not done():
        if time.monotonic() - began > patience:
            pytest.fail(f"it did not happen within {patience:g} s")
        time.sleep(0.2)
    return time.monotonic() - began


def test_a_killed_server_is_told_of_within_a_minute_and_once(
    start_server: Any,
    make_bundle: Any,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    server = start_server(replicas=2)
    server.load(make_bundle(server.settings.bundles_root), 1)
    address = server.endpoint.url.removeprefix("http://")
    with alert_channel() as (url, received):

        def told(status: str) -> list[dict[str, Any]]:
            return [
                one
                for message in list(received)
                for one in message["alerts"]
                if one["status"] == status
            ]

        with alertmanager.Alertmanager(tmp_path / "am", _alertmanager_config(url)) as manager:
            config = _prometheus_config(address, manager.address)
            with prometheus.Prometheus(tmp_path / "prometheus", {}, config):
                time.sleep(12)  # two scrapes of a server that is well
                assert received == []
                _kill(server.endpoint.root)
                fired = _seconds_until(lambda: bool(told("firing")), 60)
                server.deployer.start()
                resolved = _seconds_until(lambda: bool(told("resolved")), 180)
                time.sleep(5)
        assert [one["labels"]["alertname"] for one in told("firing")] == [NAME]
        assert [one["labels"]["alertname"] for one in told("resolved")] == [NAME]
        assert told("firing")[0]["labels"]["server"] == "main"
        assert len(received) == 2
    record_property("seconds until it was told", round(fired, 1))
    record_property("seconds until it was over", round(resolved, 1))
