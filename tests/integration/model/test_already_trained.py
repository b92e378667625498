"""Who gets a training: persons and backfills always, schedules and events where there is news."""

from collections.abc import Callable
from datetime import timedelta

import pandas as pd
import pytest
from training_line import START, Line

from ferryman.errors import Superseded
from ferryman.runtime.run_store import run_results
from ferryman.spec.loader import load_model
from ferryman.spec.windows import format_time

CHAIN = ("train", "evaluate", "package", "register")
OWN_DAY = format_time(START + timedelta(days=23))


def _day(number: int) -> str:
    return format_time(START + timedelta(days=number))


@pytest.fixture
def asked_by_event(line: Line) -> Line:
    """`rain` was trained as of its 23rd day, as an event asked, and registered."""
    line.run("train", run_id="killed", asked="event", cutoff=OWN_DAY)
    # What was never registered stands in nobody's way.
    line.run(*CHAIN, run_id="first", asked="event", cutoff=OWN_DAY)
    return line


def test_only_what_is_new_is_trained_where_no_person_asks(asked_by_event: Line) -> None:
    line = asked_by_event

    def refused(name: str, asked: str, cutoff: str) -> str:
        with pytest.raises(Superseded) as error:
            line.run("train", run_id=name, asked=asked, cutoff=cutoff, reason="drift: humidity")
        assert run_results(line.settings.runs_root / "rain" / "training" / name) == {}
        return error.value.text

    already = f"already trained on data up to {OWN_DAY} (version 1, run first), "
    for asked in ("event", "schedule"):
        assert refused(f"same-{asked}", asked, OWN_DAY) == f"{already}and there is nothing new"
        assert refused(f"old-{asked}", asked, _day(22)) == f"{already}which is newer"
    cool = "as an event asked, and monitor.retrain.cool_down is 5d"
    assert refused("too-soon", "event", _day(24)) == already + cool
    for name, asked, cutoff in (
        ("night", "schedule", _day(24)),
        ("by-hand", "person", OWN_DAY),
        ("old-day", "backfill", _day(22)),
    ):
        told = line.run("train", run_id=name, asked=asked, cutoff=cutoff)["train"]
        assert told.outputs["cutoff"] == cutoff
        assert told.outputs.get("asked", "person") == asked
        person = line.settings.actor if asked == "person" else None
        assert told.outputs.get("asked_by") == person


def test_another_declaration_and_data_that_came_anew_are_news(
    asked_by_event: Line, rain_hours: Callable[..., pd.DataFrame]
) -> None:
    line = asked_by_event
    source = line.settings.source_root / "rain" / "hours_2024-01.parquet"
    rain_hours(24, seed=3).to_parquet(source)
    line.publish("again")
    told = line.run("train", run_id="restated", asked="event", cutoff=OWN_DAY)["train"]
    first = run_results(line.settings.runs_root / "rain" / "training" / "first")["train"]
    assert told.outputs["train_dataset"] != first.outputs["train_dataset"]
    line.model.file.write_text(line.model.file.read_text().replace("max_iter: 20", "max_iter: 21"))
    changed = Line(line.settings, load_model(line.model.folder))
    assert changed.run("train", run_id="changed", asked="event", cutoff=_day(22))
