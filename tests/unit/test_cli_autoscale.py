"""`ferryman autoscale`: what it prints, and what it exits with."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from services.command import run_cli

from ferryman.deployment.autoscaling.decision import Decision, Figures, ReplicaFigures
from ferryman.deployment.autoscaling.log import AutoscalingFiles

IMAGE = "registry.example/ferryman@sha256:" + "a" * 64
SERVERS = f"""
spec_version: 1
servers:
  main: {{autoscaling: {{max: 3, rules: [{{kind: cpu}}]}}}}
  quiet: {{port: 7000, admin_port: 7001}}
  cluster:
    place: kubernetes
    autoscaling: {{max: 3, rules: [{{kind: cpu}}]}}
    kubernetes: {{image: "{IMAGE}", bundles: store}}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "servers.yaml").write_text(SERVERS)

    def call(*arguments: str) -> int:
        return run_cli(monkeypatch, tmp_path, tmp_path, "autoscale", *arguments)

    return call


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--once"], 6, "the server 'main' is stopped"),
        (["--server", "quiet"], 2, "declares no autoscaling"),
        (["--server", "cluster"], 9, "HorizontalPodAutoscaler"),
        (["--server", "mian"], 2, "did you mean 'main'?"),
        (["--every", "0"], 2, "--every"),
        (["--log", "--last", "0"], 2, "--last"),
    ],
)
def test_what_cannot_be_done_has_its_code_and_its_reason(run, capsys, arguments, code, told):
    assert run(*arguments) == code
    assert told in capsys.readouterr().err


def test_a_second_autoscaler_loses_its_race(run, tmp_path, capsys):
    with AutoscalingFiles(tmp_path / "serving").turn("main"):
        assert run("--once") == 8
    assert "has an autoscaler already" in capsys.readouterr().err


def test_a_loop_ends_after_its_time_and_tells_each_decision(run, capsys):
    assert run("--seconds", "0", "--every", "0.1") == 0
    assert "main: hold [none] the server is stopped" in capsys.readouterr().out


def test_the_log_shows_what_was_decided_from_what_and_why(run, tmp_path, capsys):
    replicas = {"r1": ReplicaFigures(cpu=0.9, requests=40), "r2": ReplicaFigures(cpu=0.7)}
    AutoscalingFiles(tmp_path / "serving").append(
        Decision(
            at=datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC),
            server="main",
            current=2,
            wanted=3,
            rule="cpu",
            reason="cpu 0.80 [of] a replica",
            figures=Figures(window=10, replicas=replicas, p95_ms=12.34),
            error="no room",
        )
    )
    assert run("--log") == 0
    out = capsys.readouterr().out
    for text in ("2026-01-02T03:04:05Z", "2 -> 3", "40.0", "0.80", "12.3", "[of]", "no room"):
        assert text in out
