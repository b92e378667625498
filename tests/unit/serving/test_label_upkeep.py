"""Posted labels of a finished day are merged; none is lost, doubled or taken for a newer one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from label_posts import post

from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.serving.labels.label_files import DAYS
from ferryman.serving.labels.label_reading import label_files, read_posted
from ferryman.serving.log.upkeep import compact, find_outdated
from ferryman.spec.windows import day_window

CAME = datetime(2026, 3, 1, 8, tzinfo=UTC)
LATER = CAME + timedelta(days=2)
DAY = day_window(CAME)


class Kept:
    """Labels of `tiny` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places = [LocalObjectStore(folder)]

    def post(self, key: str, label: bool | None = True, after: int = 0) -> None:
        post(self.folder, "tiny", key, label, CAME + timedelta(minutes=after))

    def merge(self, now: datetime = LATER) -> int:
        return compact(self.places[0], "tiny", now, DAYS)

    def files(self) -> list[Path]:
        return sorted((self.folder / "tiny" / "labels" / "received=2026-03-01").glob("*"))

    def rows(self) -> list[tuple[Any, ...]]:
        rows, strange = read_posted(self.places, "tiny", DAY, "binary")
        assert strange == 0
        return [(row["entity_key"], row["label"]) for row in rows.to_pylist()]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    found = Kept(tmp_path / "log")
    for number in range(3):
        found.post(f"k{number}", after=number)
    return found


def test_a_finished_day_becomes_one_file_and_the_files_are_counted_as_before(kept: Kept) -> None:
    names, rows = label_files(kept.places, "tiny", DAY), kept.rows()
    assert kept.merge(CAME) == 0  # the day is not over
    assert kept.merge() == 3
    assert len(kept.files()) == 1
    assert kept.rows() == rows == [("k0", True), ("k1", True), ("k2", True)]
    assert label_files(kept.places, "tiny", DAY) == names
    kept.post("k0", False, after=9)  # a dead machine's journal, found late
    assert len(label_files(kept.places, "tiny", DAY)) == 4
    assert kept.merge() == 2
    assert len(label_files(kept.places, "tiny", DAY)) == 4
    assert kept.rows() == [*rows, ("k0", False)]
    assert kept.merge() == 0


def test_merging_that_is_killed_shows_no_label_twice(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = kept.rows()
    with monkeypatch.context() as patch:
        patch.setattr(LocalObjectStore, "delete", lambda *_: None)  # killed before it removes
        kept.merge()
    assert len(kept.files()) == 4
    assert kept.rows() == rows
    assert len(label_files(kept.places, "tiny", DAY)) == 3
    assert kept.merge() == 3
    assert kept.rows() == rows


def test_old_files_are_found_by_when_they_came(kept: Kept) -> None:
    kept.merge()
    [file] = kept.files()
    foreign = file.with_name("by-hand.parquet")
    foreign.write_bytes(file.read_bytes())
    assert find_outdated(kept.places[0], "tiny", CAME, DAYS) == []
    [day] = find_outdated(kept.places[0], "tiny", LATER, DAYS)
    assert (day.folder, day.keys) == (
        "tiny/labels/received=2026-03-01",
        (f"tiny/labels/received=2026-03-01/{file.name}",),
    )
    assert find_outdated(kept.places[0], "tiny", LATER) == []  # of the prediction log there is none
