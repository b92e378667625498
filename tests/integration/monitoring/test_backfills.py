"""A backfill of monitoring says what its night said, whatever came since, and moves nothing."""

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lived_nights import Past
from served_world import at

from ferryman.errors import IntegrityBroken


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory, make_bundle: Any) -> Past:
    lived = Past(tmp_path_factory.mktemp("past"), make_bundle)
    lived.go_on()
    return lived


def test_it_says_what_the_nights_said_and_moves_nothing(past: Past) -> None:
    before = past.files()
    for day in reversed(past.told):
        results = past.run(day, "backfill", backfill=True)
        assert past.report(results) == past.told[day]
        assert results["decide_retrain"].outputs["retrain"] is False
        assert results["verdict"].outputs["rolled_back"] is False
    assert past.files() == before
    assert past.told[9]["champion"]["version"] == 2
    assert past.told[9]["events"]


def test_with_todays_knowledge_it_says_something_else(past: Past) -> None:
    before = past.files()
    now = past.report(past.run(8, "now", backfill=True, as_known="now"))
    then = past.told[8]
    assert (then["champion"]["version"], now["champion"]["version"]) == (2, 4)
    assert now["quality"]["value"] > then["quality"]["value"] + 0.1  # the labels are others by now
    assert now["labels"]["predicted"] > then["labels"]["predicted"]
    assert past.files() == before


def test_a_night_that_is_run_again_later_keeps_the_moment_of_its_first_look(
    tmp_path: Path, make_bundle: Any
) -> None:
    past = Past(tmp_path / "past", make_bundle)
    past.go_on()
    reports = past.settings.monitoring_root / "tiny" / "reports"
    kept = tmp_path / "reports"
    shutil.copytree(reports, kept)
    again = past.report(past.run(8, "again"))
    assert again["looked_at"] == past.told[8]["looked_at"]
    assert again["champion"]["version"] == 4
    assert past.report(past.run(8, "backfill", backfill=True)) == past.told[8]


def test_a_window_that_no_night_looked_at_is_seen_from_its_end(
    tmp_path: Path, make_bundle: Any
) -> None:
    past = Past(tmp_path, make_bundle)
    shutil.rmtree(past.settings.monitoring_root)
    found = past.report(past.run(8, "backfill", backfill=True))
    assert datetime.fromisoformat(found["looked_at"]) == at(8).end
    assert found["champion"] is None  # the ledger's first release is of today
    assert found["quality"]["labelled"] == past.told[8]["quality"]["labelled"]
    assert np.isclose(found["quality"]["value"], past.told[8]["quality"]["value"])
    assert not (past.settings.monitoring_root / "tiny").exists()


def test_errors_are_those_that_were_known_then(tmp_path: Path, make_bundle: Any) -> None:
    past = Past(tmp_path, make_bundle, range(7, 8))
    log = past.settings.serving_root / "server.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for hour, said in ((1, "no place for rows"), (30, "said the day after")):
        time = (at(7).start + timedelta(hours=hour)).isoformat(timespec="milliseconds")
        lines.append(json.dumps({"time": time, "level": "ERROR", "message": said}))
    log.write_text("\n".join(lines) + "\n")

    def told(results: dict[str, Any]) -> tuple[list[str], list[str]]:
        errors = past.report(results)["errors"]
        return [one["signature"] for one in errors["top"]], errors["limits"]

    # The night looked when the log was not there: that is what was known.
    assert told(past.run(7, "then", backfill=True)) == ([], ["there is no log of server main here"])
    later = "errors of steps that have succeeded since are not among these"
    begins = "the log of server main begins at 2013-01-08T01:00:00Z"
    now = told(past.run(7, "now", backfill=True, as_known="now"))
    assert now == (["no place for rows"], [begins, later])
    # A window that no night looked at: what was said by its end.
    assert told(past.run(6, "never", backfill=True)) == ([], [begins, later])
    shutil.rmtree(past.settings.monitoring_root / "tiny" / "reports")
    assert told(past.run(7, "end", backfill=True)) == now


def test_windows_of_another_year_change_nothing(tmp_path: Path, make_bundle: Any) -> None:
    past = Past(tmp_path, make_bundle, range(7, 9))
    root = past.settings.monitoring_root / "tiny"
    for file in [file for file in root.rglob("*2013*") if file.is_file()]:
        other = Path(str(file).replace("2013", "2026"))
        other.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, other)
    assert past.report(past.run(8, "again")) == past.told[8]
    assert past.report(past.run(8, "backfill", backfill=True)) == past.told[8]


def test_a_past_champion_whose_bundle_is_gone_is_told(past: Past) -> None:
    bundle = past.settings.bundles_root / "tiny" / str(past.world.given["digest"])
    aside = bundle.rename(bundle.with_name("aside"))
    try:
        with pytest.raises(IntegrityBroken, match="version 2 of tiny cannot be loaded") as told:
            past.run(9, "bundle", backfill=True)
        assert "Versions in order here: 4." in told.value.remedy
    finally:
        aside.rename(bundle)
    assert past.report(past.run(9, "bundle", backfill=True)) == past.told[9]
