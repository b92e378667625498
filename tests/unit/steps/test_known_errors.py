"""The errors of servers' logs and of steps that stand failed, in one list by version."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ferryman.cli import logs
from ferryman.errors import SpecError
from ferryman.runtime.files import write_json
from ferryman.runtime.json_logs import JsonLines
from ferryman.runtime.messages import StepResult
from ferryman.settings import Settings, load_settings
from ferryman.steps.known_errors import known_errors


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Two logs of a server, and a run of two failed steps that registered version 7."""
    settings = Settings(root=tmp_path, home=tmp_path / "home", zoo=tmp_path / "zoo")
    for name, version in (("server.log.1", 6), ("server.log", 7)):
        file = settings.serving_root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": at, "level": "ERROR", "message": f"row {version} is bad", "model": "tiny"}
        file.write_text(json.dumps({**line, "version": version}) + "\nno event\n")
    run = settings.runs_root / "tiny" / "training" / "r1"
    write_json(run / "report" / "error.json", {"exit_code": 6, "text": "no disk at /a/b/c"})
    write_json(run / "tune" / "worker-1" / "error.json", {"exit_code": 3, "text": "[red]few rows"})
    write_json(run / "train" / "error.json", ["no", "error"])
    registered = StepResult(
        model="tiny", step="register", request_digest="d", outputs={"version": 7}
    )
    write_json(run / "register" / "result.json", registered.model_dump(mode="json"))
    return settings


def test_both_kinds_are_found(settings: Settings) -> None:
    found = list(known_errors(settings, "tiny"))
    assert [(one.version, one.where, one.message) for one in found] == [
        ("6", "", "row 6 is bad"),
        ("7", "", "row 7 is bad"),
        ("7", "step report, exit 6", "no disk at /a/b/c"),
        ("7", "step worker-1, exit 3", "[red]few rows"),
    ]
    later = datetime.now(UTC) + timedelta(hours=1)
    assert list(known_errors(settings, "tiny", since=later)) == []
    assert list(known_errors(settings, "other")) == []
    given = list(known_errors(settings, files=[settings.serving_root / "server.log"]))
    assert [one.version for one in given] == ["7"]


def test_the_command_tells_what_is_new(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRYMAN_HOME", str(settings.home))
    monkeypatch.setenv("FERRYMAN_ZOO", str(settings.zoo))
    load_settings.cache_clear()
    try:
        run = CliRunner().invoke(logs.app, ["top-errors", "--json", "--since", "24h"])
    finally:
        load_settings.cache_clear()
    told = json.loads(run.stdout)
    assert told["top"][0]["signature"] == "row N is bad"
    assert told["top"][0]["versions"] == {"6": 1, "7": 1}
    new = {one["signature"] for one in told["only_in_newest"]}
    assert new == {"no disk at PATH", "[red]few rows"}


def test_a_moment_is_a_day_or_an_age() -> None:
    assert logs.parse_since("2026-03-01") == datetime(2026, 3, 1, tzinfo=UTC)
    age = datetime.now(UTC) - logs.parse_since("90m")
    assert timedelta(minutes=89) < age < timedelta(minutes=91)
    with pytest.raises(SpecError):
        logs.parse_since("soon")


def test_what_the_log_formatter_writes_is_read(settings: Settings, tmp_path: Path) -> None:
    import logging

    record = logging.LogRecord("x", logging.ERROR, "f", 1, "said\n%s", ("two",), None)
    record.version = 9
    (tmp_path / "own.log").write_text(JsonLines("r").format(record) + "\n")
    [event] = known_errors(settings, files=[tmp_path / "own.log"])
    assert (event.message, event.version) == ("said\ntwo", "9")
