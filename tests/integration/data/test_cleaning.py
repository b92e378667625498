"""Planted defects of every kind: counted exactly, kept with reasons, or the window refused."""

import datetime as dt
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from planted import FIRST, PAYLOADS, ROWS, Form, Plant, as_text, plant, raw_cells, write_model

from ferryman.data.rows.cleaning import RowsRejected
from ferryman.data.sources.memory_source import MemorySource
from ferryman.data.versions.snapshots import Snapshot, SnapshotStore
from ferryman.errors import DataRejected, ExitCode, GateRefused, SpecError, exit_code_of
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.messages import StepResult
from ferryman.settings import Settings
from ferryman.spec.loader import load_model
from ferryman.spec.sources import FilesSourceSpec
from ferryman.spec.windows import Window, day_window
from ferryman.steps.journey import Journey

DAY = day_window(FIRST + dt.timedelta(days=1))


def settings_of(folder: Path) -> Settings:
    return Settings(
        root=folder,
        home=folder / "home",
        zoo=folder / "zoo",
        source_root=folder,
        cpus=2,
        actor="ada",
    )


def ingest(folder: Path, form: Form, share: float, **params: Any) -> StepResult:
    write_model(folder / "zoo", form, share)
    return run(folder, **params)


def run(folder: Path, **params: Any) -> StepResult:
    journey = Journey(settings_of(folder), load_model(folder / "zoo" / "plant"))
    return next(iter(journey.run("ingest", window=DAY, run_id="r", params=params or None)))


def snapshot_of(folder: Path, result: StepResult) -> tuple[SnapshotStore, Snapshot]:
    store = SnapshotStore(LocalObjectStore(settings_of(folder).data_root))
    (entry,) = result.outputs["snapshots"]  # type: ignore[misc]
    return store, store.get("plant", entry["id"])  # type: ignore[index,call-overload,arg-type]


@pytest.fixture(params=["csv", "parquet"])
def planted(request: pytest.FixtureRequest, tmp_path: Path) -> Plant:
    made = plant(request.param)
    made.deliver(tmp_path)
    return made


def test_the_report_counts_what_was_planted(planted: Plant, tmp_path: Path) -> None:
    result = ingest(tmp_path, planted.form, 0.2)
    account = result.outputs["cleaning"]["rows"]  # type: ignore[index,call-overload]
    assert account["reasons"] == planted.counts()  # type: ignore[index,call-overload]
    assert len(planted.counts()) > 15
    dropped, changed = planted.fates("dropped"), planted.fates("changed")
    assert (result.metrics["dropped"], result.metrics["changed"]) == (dropped, changed)
    assert f"; {dropped} rows dropped, {changed} changed (rows: " in result.text
    assert len(result.text) < 1_000
    _, snapshot = snapshot_of(tmp_path, result)
    use = snapshot.entry.sources["rows"]
    assert (use.dropped, use.changed, dict(use.counts)) == (dropped, changed, planted.counts())
    assert use.described == f"files source root:rows.{planted.form}"
    kept = [row for row, defect in planted.planted.items() if defect.fate == "dropped"]
    timeless = sum("at" in planted.planted[row].cells for row in kept)
    copies = sum(defect.copies is not None for defect in planted.planted.values())
    assert snapshot.entry.rows == ROWS + copies - dropped
    assert timeless >= 2


def test_quarantine_holds_each_row_as_it_was(planted: Plant, tmp_path: Path) -> None:
    store, snapshot = snapshot_of(tmp_path, ingest(tmp_path, planted.form, 0.2))
    lines = store.read_quarantine(snapshot.entry).to_pylist()
    found = Counter(
        (line["place"], line["action"], line["column"], line["reason"]) for line in lines
    )
    assert found == Counter(
        (planted.place(row), defect.fate, column, reason)
        for row, defect in planted.planted.items()
        for column, reason in defect.reasons
    )
    rows = {planted.place(row): planted.rows[row] for row in planted.planted}
    for line in lines:
        row = rows[line["place"]]
        cells = raw_cells(line)
        assert list(cells) == list(row)
        assert line["part"] == f"rows.{planted.form}"
        for name in ("sensor", "sort", "note"):
            assert (cells[name] or "") == as_text(row[name])
        if line["column"] is not None:
            assert line["value"] == cells[line["column"]]


def test_what_is_left_is_clean(planted: Plant, tmp_path: Path) -> None:
    store, snapshot = snapshot_of(tmp_path, ingest(tmp_path, planted.form, 0.2))
    features = store.read_features(snapshot)
    numbers = [int(key.split("|")[1]) for key in features.column("entity_key").to_pylist()]
    untouched = {
        row["number"]: row
        for place, row in enumerate(planted.rows)
        if place not in planted.planted and row["at"] is not None and row["at"] >= DAY.start
    }
    changed = {
        planted.rows[place]["number"]: defect
        for place, defect in planted.planted.items()
        if defect.fate == "changed"
    }
    assert sorted(numbers) == sorted([*untouched, *changed])
    names = ["heat", "level", "rain", "gust", "press", "sort", "note"]
    table = dict(zip(numbers, features.select(names).to_pylist(), strict=True))
    for number, row in untouched.items():
        assert table[number] == {name: row[name] for name in names}
    for number, defect in changed.items():
        (first, reason), *_ = defect.reasons
        value = table[number].get(str(first), "not a feature")
        if reason in ("is below 0", "is above 100") and first == "level":
            assert value == (0.0 if "below" in reason else 100.0)
        elif first == "rain":
            assert value == 0.0
        elif first in ("sort", "press"):
            assert value is None
        elif first == "gust":
            assert 30 < value < 100  # moved to the fence, a whole number
    assert set(PAYLOADS) < set(features.column("note").to_pylist())


def test_above_the_declared_share_the_rows_are_kept_in_the_run_s_folder(
    planted: Plant, tmp_path: Path
) -> None:
    with pytest.raises(DataRejected) as caught:
        ingest(tmp_path, planted.form, 0.01)
    error = caught.value
    assert exit_code_of(error) == ExitCode.DATA
    assert len(str(error)) < 1_500
    bad = planted.fates("dropped") + planted.fates("changed")
    counted = sum(row["at"] is None or not as_text(row["at"]).startswith("2026-03-01")
                  for row in planted.rows)  # fmt: skip
    assert f"({bad} of {counted} rows are bad: " in error.text
    (file,) = tmp_path.glob("home/runs/**/quarantine.parquet")
    assert f"is in {file}. " in error.remedy
    kept = pq.read_table(file)
    assert kept.num_rows == sum(len(defect.reasons) for defect in planted.planted.values())
    assert not list((tmp_path / "home").rglob("entry.json"))


def test_a_second_run_finds_the_same(planted: Plant, tmp_path: Path) -> None:
    first = ingest(tmp_path, planted.form, 0.2)
    second = ingest(tmp_path, planted.form, 0.2)
    assert second.metrics["new_snapshots"] == 0
    assert second.outputs["cleaning"] == first.outputs["cleaning"]
    assert snapshot_of(tmp_path, second)[1].id == snapshot_of(tmp_path, first)[1].id


def test_known_too_late_is_refused_until_somebody_answers_for_it(
    planted: Plant, tmp_path: Path
) -> None:
    write_model(tmp_path / "zoo", planted.form, 0.2, late=True)
    with pytest.raises(GateRefused) as caught:
        run(tmp_path)
    assert exit_code_of(caught.value) == ExitCode.GATE
    assert "suspiciously good: " in caught.value.text
    assert "by column 'measured'" in caught.value.text
    assert "accept_leakage=REASON" in caught.value.remedy
    for reason in ("", "trust me", "x" * 201, 5):
        with pytest.raises(SpecError, match="accept_leakage"):
            run(tmp_path, accept_leakage=reason)
    result = run(tmp_path, accept_leakage="the sensors' clocks were ahead")
    assert result.text.endswith("; 1 accepted although known too late")
    _, snapshot = snapshot_of(tmp_path, result)
    (override,) = snapshot.entry.overrides
    assert override.startswith("feature 'heat' of row 1 (")
    assert override.endswith("accepted by ada: the sensors' clocks were ahead")


def test_words_of_a_run_stay_words(tmp_path: Path) -> None:
    """What a run is told lands in the catalogue's entry and nowhere else: no path, no query."""
    made = plant("parquet")
    made.deliver(tmp_path)
    plain = ingest(tmp_path, "parquet", 0.2)
    before = {file.relative_to(tmp_path) for file in tmp_path.rglob("*")}
    for words in PAYLOADS:
        hostile = f"../../{words}"
        result = ingest(tmp_path, "parquet", 0.2, reason=hostile, accept_leakage=hostile + " " * 9)
        assert result.outputs["snapshots"] == [
            {**entry, "new": False}  # type: ignore[dict-item]
            for entry in plain.outputs["snapshots"]  # type: ignore[union-attr]
        ]
    after = {file.relative_to(tmp_path) for file in tmp_path.rglob("*")}
    assert {file.parts[0] for file in after - before} <= {"home"}
    assert not [file for file in after - before if "runs" not in file.parts]
    for name in ("source", "connection", "path", "query"):
        with pytest.raises(SpecError, match=f"unknown parameter '{name}'"):
            ingest(tmp_path, "parquet", 0.2, **{name: "s3://elsewhere/rows"})


def test_many_bad_rows_are_told_in_a_few_words() -> None:
    count = 200_000
    spec = FilesSourceSpec.model_validate(
        {
            "kind": "files",
            "path": "rows.csv",
            "event_time": "at",
            "columns": {
                "at": {"type": "timestamp"},
                "heat": {"type": "number", "max": 10},
                "place": {"type": "category"},
            },
        }
    )
    start = int(FIRST.timestamp() * 1_000_000)
    table = pa.table(
        {
            "at": pa.array(start + np.arange(count), pa.timestamp("us", "UTC")),
            "heat": pa.array(np.arange(count) + 11.0),
            "place": pa.nulls(count, pa.string()),
        }
    )
    window = Window(start=FIRST, end=FIRST + dt.timedelta(days=1))
    with pytest.raises(RowsRejected) as caught:
        MemorySource("rows", spec, table).read(window, window)
    error = caught.value
    assert len(str(error)) < 1_500
    assert f"column 'heat': {count} rows, the first in row 1: 11.0 is above 10" in error.text
    assert f"({count} of {count} rows are bad: {count} to drop)" in error.text
    assert error.cleaning.quarantine.num_rows == 2 * count
