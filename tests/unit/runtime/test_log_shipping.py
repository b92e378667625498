"""What ships the logs reads the file that servers write, and the time as it is written there."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

LOGS = Path(__file__).parents[3] / "deploy" / "logs"
TIME = "2026-03-01T12:00:00.123+00:00"
READERS = ("fluent-bit.yaml", "filebeat.yml", "promtail.yaml", "rsyslog.conf")


def configuration(name: str) -> Any:
    return yaml.safe_load((LOGS / name).read_text())


@pytest.mark.parametrize("name", READERS)
def test_every_reader_follows_the_servers_log_and_holds_no_secret(name: str) -> None:
    text = (LOGS / name).read_text()
    assert "serving" in text and "server.log" in text
    for secret in re.findall(r"(?i)(?:passw(?:or)?d|api_key|token)\s*[:=]\s*(\S+)", text):
        assert secret.startswith("${"), secret


def test_fluent_bit_reads_our_time() -> None:
    [parser] = configuration("parsers.yaml")["parsers"]
    [tail] = configuration("fluent-bit.yaml")["pipeline"]["inputs"]
    assert (parser["format"], tail["parser"]) == ("json", parser["name"])
    form = parser["time_format"].replace("%L", "%f")
    assert datetime.strptime(TIME, form).microsecond == 123_000
    [output] = configuration("fluent-bit.yaml")["pipeline"]["outputs"]
    assert output["match"] == "ferryman.*" and tail["tag"].startswith("ferryman.")


def test_labels_of_loki_have_few_values() -> None:
    [job] = configuration("promtail.yaml")["scrape_configs"]
    [labels] = [stage["labels"] for stage in job["pipeline_stages"] if "labels" in stage]
    assert set(labels) == {"level", "model", "program"}


def test_filebeat_reads_our_time() -> None:
    [timestamp] = [one["timestamp"] for one in configuration("filebeat.yml")["processors"]]
    assert timestamp["test"] == [TIME]
    assert timestamp["field"] == "ferryman.time"
