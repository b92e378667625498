"""`ferryman quality`: how the figure of a day moved as its labels came."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from test_cli import run_cli

from ferryman.monitoring.quality_windows import EventDay, EventDays, known_by
from ferryman.spec.windows import day_window

NAME = "flights"


def keep(root: Path) -> None:
    """One day, said twice."""
    for number, value in ((1, None), (2, 0.4)):
        night = day_window(datetime(2013, 2, 1, tzinfo=UTC) + timedelta(days=number))
        said = EventDay(
            day="2013-02-01",
            known=known_by(night),
            metric="log_loss",
            predicted=100,
            labelled=12 if value is None else 90,
            settled=90,
            coverage=0.12 if value is None else 0.9,
            value=value,
            low=None if value is None else 0.3,
            high=None if value is None else 0.5,
            estimate=0.41,
            text="not enough labels (n=12 < 50) [bold]",
            rows="0" * 32,
        )
        EventDays(root).write(NAME, night, said)


def test_every_statement_is_shown_on_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(tmp_path / "monitoring")
    monkeypatch.setenv("FERRYMAN_HOME", str(tmp_path))

    def ask(*more: str) -> str:
        assert run_cli(monkeypatch, tmp_path, "quality", "-m", NAME, *more) == 0
        return capsys.readouterr().out

    last = ask()
    assert "log_loss 0.4000 (0.3000, 0.5000)" in last
    assert "not enough" not in last
    every = ask("--revisions")
    assert "not enough labels (n=12 < 50) [bold]" in every
    assert every.index("12.0%") < every.index("90.0%")
    lines = [json.loads(line) for line in ask("--revisions", "--json").splitlines()]
    assert [line["value"] for line in lines] == [None, 0.4]
