"""Publications, marks, and the reasons that the facts give for a new version."""

import datetime as dt
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from test_data_snapshots import DAY, ENTRY, WINDOW, features, labels

from ferryman.data.versions.catalogue_entry import CatalogueEntry, SourceUse
from ferryman.data.versions.change_reason import explain_change
from ferryman.data.versions.marks import Marks
from ferryman.data.versions.publications import Publication, Publications
from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.errors import LostRace, SpecError
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.memory_object_store import MemoryObjectStore
from ferryman.spec.windows import Window


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(LocalObjectStore(tmp_path))


def test_changed_code_query_or_span_is_told_in_one_short_line() -> None:
    def entry(**changes: Any) -> CatalogueEntry:
        values: dict[str, Any] = {
            "reason": "r", "actor": "a", "id": "i", "model": "m", "window": WINDOW, "rows": 1,
            "labels": 1, "cutoff": None, "table_schema": {}, "files": {}, "created_at": DAY,
        }  # fmt: skip
        return CatalogueEntry(**{**values, **changes})

    many = [{"name": f"{number:05}", "sha256": "x"} for number in range(5000)]
    for changes, text in (
        ({"queries": {"f.sql": "2"}, "spec_digest": "d"}, "query f.sql changed"),
        ({"spec_digest": "d"}, "the declaration changed"),
        ({"code_version": "abcdef0123456789"}, "code ? -> abcdef012345"),
        ({"read_window": WINDOW}, f"the span read is {WINDOW}"),
        ({"sources": {"s": SourceUse()}}, "source s is new"),
        ({"labels": 3}, "labels 1 -> 3"),
        ({"table_schema": {"a": "int64"}}, "columns changed"),
        ({}, "only values changed, for no recorded reason"),
    ):
        assert explain_change(entry(), entry(**changes)) == text
    before, after = entry(sources={"s": SourceUse()}), entry(sources={"s": SourceUse(parts=many)})
    assert explain_change(before, after) == "source s changed: 00000, 00001, 00002 and 4997 more"


def test_a_window_is_one_day(store: SnapshotStore) -> None:
    week = Window(start=DAY, end=DAY + dt.timedelta(days=7))
    with pytest.raises(SpecError, match="is not one day"):
        store.write("m", week, features(), labels(), ENTRY)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7, 8, 9])
def test_the_last_publication_is_found_without_a_listing(count: int) -> None:
    class Unlisted(MemoryObjectStore):
        def keys(self, prefix: str) -> list[str]:
            raise AssertionError(f"listed {prefix}")

    publications = Publications(Unlisted())
    for number in range(count):
        made = Publication(id=f"{number}", parent=None, reason="r", at=DAY)
        publications.append("m", WINDOW, lambda _, made=made: made)  # type: ignore[misc]
    assert publications.count("m", WINDOW) == count
    last = publications.current("m", WINDOW)
    assert (last.id if last else None) == (str(count - 1) if count else None)


def test_a_retired_window_has_no_readers(store: SnapshotStore, tmp_path: Path) -> None:
    snapshot = store.write("m", WINDOW, features(), labels(), ENTRY)
    store.publish("m", WINDOW, snapshot.id, "r")
    retired = Publication(id=None, parent=snapshot.id, reason="old", at=DAY)
    Publications(LocalObjectStore(tmp_path)).append("m", WINDOW, lambda _: retired)
    assert store.current("m", WINDOW) is None
    assert store.published("m") == []
    assert store.newest("m") is None
    store.publish("m", WINDOW, snapshot.id, "wanted again")
    assert [entry.id for entry in store.published("m")] == [snapshot.id]


def test_whoever_uses_a_version_and_whoever_removes_it_see_each_other(
    store: SnapshotStore, tmp_path: Path
) -> None:
    snapshot = store.write("m", WINDOW, features(), labels(), ENTRY)
    marks = Marks(LocalObjectStore(tmp_path))
    assert marks.last_use("m", snapshot.id) is not None
    assert marks.begin_removal("m", snapshot.id, "test")
    assert marks.begin_removal("m", snapshot.id, "this same process again")
    for use in (
        lambda: store.write("m", WINDOW, features(), labels(), ENTRY),
        lambda: store.publish("m", WINDOW, snapshot.id, "r"),
    ):
        with pytest.raises(LostRace, match="is being removed at this moment"):
            use()
    marks.end_removal("m", snapshot.id)
    store.publish("m", WINDOW, snapshot.id, "r")


def test_a_removal_is_taken_over_from_the_dead_alone(tmp_path: Path) -> None:
    marks = Marks(LocalObjectStore(tmp_path))
    context = multiprocessing.get_context("fork")
    begun, leave = context.Event(), context.Event()

    def remove() -> None:
        marks.begin_removal("m", "a" * 64, "at work")
        begun.set()
        leave.wait(30)

    other = context.Process(target=remove)
    other.start()
    assert begun.wait(30)
    assert not marks.begin_removal("m", "a" * 64, "ours")
    assert not marks.is_ours("m", "a" * 64)
    leave.set()
    other.join(30)
    assert marks.begin_removal("m", "a" * 64, "ours")
