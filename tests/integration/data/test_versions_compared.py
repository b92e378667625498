"""Comparing and suggesting from the command line, on windows that were really ingested."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml
from typer.testing import CliRunner

from ferryman.cli.main import app
from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.errors import DataRejected, SpecError
from ferryman.runtime.local_object_store import LocalObjectStore

RUNNER = CliRunner()


def told(*arguments: str) -> str:
    """What the command prints; its errors are raised."""
    result = RUNNER.invoke(app, list(arguments), catch_exceptions=False, standalone_mode=False)
    return result.stdout


@pytest.fixture
def here(begun: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The installation of a first day, as the command finds it."""
    settings = begun.settings
    monkeypatch.setenv("FERRYMAN_ROOT", str(settings.root))
    monkeypatch.setenv("FERRYMAN_HOME", str(settings.home))
    monkeypatch.setenv("FERRYMAN_ZOO", str(settings.zoo))
    monkeypatch.setenv("FERRYMAN_SOURCE_ROOT", str(settings.source_root))
    return begun


def test_a_repaired_source_gives_a_version_with_what_changed(here: Any, tmp_path: Path) -> None:
    def colder(table: Any) -> Any:
        place = table.column_names.index("temp")
        return table.set_column(place, "temp", pc.subtract(table.column("temp"), pa.scalar(40.0)))

    store = SnapshotStore(LocalObjectStore(here.settings.data_root))
    (first,) = store.published("flights")
    here.rewrite("weather_2013-01.parquet", colder)
    here.run("ingest", "2013-01-01")
    (second,) = [one.entry for one in store.published("flights")]
    assert second.parents == [first.id]
    change = second.change_from_parent
    assert change["verdict"] == "changed"
    assert [column["column"] for column in change["columns"]] == ["temp"]
    assert change["columns"][0]["shift"] < -1
    assert len(json.dumps(change)) < 2_000
    diff = json.loads(
        told("data", "diff", first.id[:12], second.id[:12], "-m", "flights", "--json")
    )
    assert (diff["verdict"], diff["windows"]) == ("changed", [1, 1])
    shown = told("data", "diff", first.id, second.id, "-m", "flights", "--alpha", "0.001")
    assert "changed: 1 of 27 columns changed" in shown
    same = told("data", "diff", first.id, first.id, "-m", "flights")
    assert "same: 0 of 27 columns changed" in same
    with pytest.raises(SpecError, match="no version"):
        told("data", "diff", "0000000000", first.id, "-m", "flights")


def test_a_suggestion_is_written_once(here: Any, tmp_path: Path) -> None:
    file = tmp_path / "first.yaml"
    assert "edit it" in told("expectations", "suggest", "-m", "flights", "--write", str(file))
    text = file.read_text()
    assert yaml.safe_load(text)[0]["expect"] == "ExpectTableRowCountToBeBetween"
    assert told("expectations", "suggest", "-m", "flights") == text
    with pytest.raises(SpecError, match="never overwritten"):
        told("expectations", "suggest", "-m", "flights", "--write", str(file))
    assert file.read_text() == text
    with pytest.raises(DataRejected, match="no published window of 'nothing'"):
        told("expectations", "suggest", "-m", "nothing")
