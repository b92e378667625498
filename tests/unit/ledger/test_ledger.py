"""The ledger decides once, in order, and remembers."""

import sqlite3
import stat
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ledger_world import MODEL, make_candidate, staged

from ferryman.errors import (
    DependencyUnavailable,
    IntegrityBroken,
    LostRace,
    PolicyRefused,
    SpecError,
    Superseded,
)
from ferryman.ledger import appending, engine
from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import Candidate, OrderKey, State


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(file: Path) -> Ledger:
    return Ledger(f"sqlite:///{file}")


def release(ledger: Ledger, candidate: Candidate, base: int) -> str:
    op = staged(ledger, candidate, base)
    ledger.commit(op.op_id, base)
    ledger.advance(op.op_id, State.PROJECTED, {})
    ledger.advance(op.op_id, State.DONE, {})
    return op.op_id


def test_first_release_makes_epoch_one(ledger: Ledger) -> None:
    assert ledger.head(MODEL) is None
    op = staged(ledger, make_candidate(1, 1), 0)
    head = ledger.commit(op.op_id, 0)
    assert (head.epoch, head.version, head.digest) == (1, 1, f"{1:064x}")
    assert head.order_key == OrderKey("2013-02-01T00:00:00Z", 1)
    assert ledger.head(MODEL) == head
    assert ledger.verify() == []


def test_commit_of_a_done_operation_returns_its_own_epoch(ledger: Ledger) -> None:
    old = release(ledger, make_candidate(1, 1), 0)
    release(ledger, make_candidate(2, 2), 1)
    rows = len(ledger.history(MODEL))
    again = ledger.commit(old, 0)
    assert (again.epoch, again.version) == (1, 1)
    head = ledger.head(MODEL)
    assert head is not None and (head.epoch, head.version) == (2, 2)
    assert len(ledger.history(MODEL)) == rows


def test_older_cut_off_is_superseded_and_stays_so(ledger: Ledger) -> None:
    release(ledger, make_candidate(5, 1), 0)
    op = staged(ledger, make_candidate(4, 2), 1)
    for _ in range(2):
        with pytest.raises(Superseded, match="version 1"):
            ledger.commit(op.op_id, 1)
    found = ledger.op(op.op_id)
    assert found is not None and found.state is State.SUPERSEDED
    head = ledger.head(MODEL)
    assert head is not None and head.epoch == 1


def test_same_cut_off_is_decided_by_the_sequence(ledger: Ledger) -> None:
    release(ledger, make_candidate(5, 9), 0)
    older = staged(ledger, make_candidate(5, 8), 1)
    with pytest.raises(Superseded):
        ledger.commit(older.op_id, 1)
    newer = staged(ledger, make_candidate(5, 10), 1)
    assert ledger.commit(newer.op_id, 1).version == 10


def test_lost_race_is_gated_anew_and_then_wins(ledger: Ledger) -> None:
    slow = staged(ledger, make_candidate(9, 2), 0)
    release(ledger, make_candidate(1, 1), 0)
    with pytest.raises(LostRace, match="epoch 1"):
        ledger.commit(slow.op_id, 0)
    found = ledger.op(slow.op_id)
    assert found is not None and found.state is State.STAGED
    with pytest.raises(LostRace):  # the old verdict does not hold for the new champion
        ledger.commit(slow.op_id, 1)
    ledger.advance(slow.op_id, State.GATED, {}, base_epoch=1)
    with pytest.raises(PolicyRefused, match="GATED"):
        ledger.commit(slow.op_id, 1)
    ledger.advance(slow.op_id, State.STAGED, {}, base_epoch=1)
    assert ledger.commit(slow.op_id, 1).epoch == 2


def test_orphan_of_an_older_attempt_cannot_stage(ledger: Ledger) -> None:
    op = staged(ledger, make_candidate(9, 2), 0)
    ledger.advance(op.op_id, State.GATED, {}, base_epoch=3)
    ledger.advance(op.op_id, State.STAGED, {}, base_epoch=0)  # was there: no-op
    with pytest.raises(LostRace):
        ledger.advance(op.op_id, State.FAILED, {}, base_epoch=0)
    found = ledger.op(op.op_id)
    assert found is not None and (found.state, found.base_epoch) == (State.GATED, 3)


@pytest.mark.parametrize("state", [State.STAGED, State.COMMITTED, State.PROJECTED, State.DONE])
def test_steps_cannot_be_skipped(ledger: Ledger, state: State) -> None:
    op = ledger.open_op(PROMOTE, MODEL, make_candidate(1, 1), "ann", "test")
    ledger.advance(op.op_id, State.REGISTERED, {})
    with pytest.raises(PolicyRefused, match="cannot follow"):
        ledger.advance(op.op_id, state, {})


def test_commit_needs_a_gate_in_the_ledger(ledger: Ledger) -> None:
    op = ledger.open_op(PROMOTE, MODEL, make_candidate(1, 1), "ann", "test")
    with pytest.raises(PolicyRefused, match="gated and staged"):
        ledger.commit(op.op_id, 0)
    ledger.advance(op.op_id, State.REGISTERED, {})
    ledger.advance(op.op_id, State.REJECTED, {})
    with pytest.raises(PolicyRefused, match="REJECTED"):
        ledger.commit(op.op_id, 0)
    with pytest.raises(SpecError, match="no operation"):
        ledger.commit("f" * 64, 0)
    assert ledger.head(MODEL) is None


def test_repeats_write_nothing(ledger: Ledger) -> None:
    first = staged(ledger, make_candidate(1, 1), 0)
    rows = len(ledger.history(MODEL))
    assert staged(ledger, make_candidate(1, 1), 0) == first
    assert len(ledger.history(MODEL)) == rows == 4
    assert [op.state for op in ledger.ops(MODEL)] == [State.STAGED]


def test_frozen_head_refuses_until_thawed(ledger: Ledger) -> None:
    release(ledger, make_candidate(1, 1), 0)
    ledger.set_frozen(MODEL, True, actor="ann", reason="incident 12")
    ledger.set_frozen(MODEL, True, actor="bob", reason="asked for once more")
    op = staged(ledger, make_candidate(2, 2), 1)
    with pytest.raises(PolicyRefused, match="frozen"):
        ledger.commit(op.op_id, 1)
    assert ledger.verify() == []
    ledger.set_frozen(MODEL, False, actor="ann", reason="the incident is over")
    assert ledger.commit(op.op_id, 1).epoch == 2
    assert [note.kind for note in ledger.notes(MODEL)] == ["freeze", "unfreeze"]
    with pytest.raises(SpecError):
        ledger.set_frozen("unknown", True, actor="ann", reason="incident 12")


def test_quarantined_digest_never_commits(ledger: Ledger) -> None:
    op = staged(ledger, make_candidate(1, 1), 0)
    ledger.quarantine(MODEL, f"{1:064x}", why="wrong labels", actor="ann")
    ledger.quarantine(MODEL, f"{1:064x}", why="wrong labels, twice", actor="ann")
    with pytest.raises(PolicyRefused, match="wrong labels"):
        ledger.commit(op.op_id, 0)
    assert ledger.is_quarantined(MODEL, f"{1:064x}") == "wrong labels"
    assert ledger.verify() == []


def test_last_good_names_what_served(ledger: Ledger) -> None:
    release(ledger, make_candidate(1, 1), 0)
    second = staged(ledger, make_candidate(2, 2), 1)
    ledger.commit(second.op_id, 1)
    head = ledger.head(MODEL)
    assert head is not None and [good["version"] for good in head.last_good] == [1]
    ledger.advance(second.op_id, State.PROJECTED, {})
    ledger.advance(second.op_id, State.DONE, {})
    head = ledger.head(MODEL)
    assert head is not None and [good["version"] for good in head.last_good] == [2, 1]
    assert ledger.verify() == []
    released = ledger.released(MODEL, f"{1:064x}")
    assert released is not None and released.evidence["after"]["epoch"] == 1
    by_epoch = ledger.commit_of_epoch(MODEL, 2)
    assert by_epoch is not None and by_epoch.op_id == second.op_id
    assert ledger.released(MODEL, "e" * 64) is None


def test_rows_are_append_only(ledger: Ledger, file: Path) -> None:
    release(ledger, make_candidate(1, 1), 0)
    with sqlite3.connect(file) as raw:
        for statement in ("UPDATE ops SET actor = 'eve'", "DELETE FROM ops"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                raw.execute(statement)
    raw.close()


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE ops SET actor = 'eve' WHERE seq = 3", "row 3 was changed"),
        ('UPDATE ops SET evidence = \'{"why":"bettes"}\' WHERE seq = 3', "row 3 was changed"),
        ("UPDATE ops SET at = '1' || substr(at, 2) WHERE seq = 2", "row 2 was changed"),
        ("UPDATE ops SET hash = substr(hash, 1, 63) || 'x' WHERE seq = 2", "row 2 was changed"),
        ("DELETE FROM ops WHERE seq = 2", "rows 2 to 2 are missing"),
        ("DELETE FROM ops WHERE seq = 8", "the newest row should be 8, found 7"),
        ("UPDATE head SET version = 9", "head of flights"),
        ('UPDATE head SET last_good = \'[{"digest": "x"}]\'', "last_good of flights is not"),
        ("DELETE FROM head", "head of flights"),
        ("DELETE FROM quarantine", "quarantine of flights"),
    ],
)
def test_verify_finds_tampering(ledger: Ledger, file: Path, statement: str, found: str) -> None:
    release(ledger, make_candidate(1, 1), 0)
    ledger.quarantine(MODEL, "a" * 64, why="bad labels in May", actor="ann")
    assert ledger.verify() == []
    raw = sqlite3.connect(file)
    raw.execute("DROP TRIGGER ops_no_update")
    raw.execute("DROP TRIGGER ops_no_delete")
    changed = raw.execute(statement).rowcount
    raw.commit()
    raw.close()
    assert changed == 1
    assert any(found in text for text in ledger.verify()), ledger.verify()


def test_read_only_ledger_refuses(
    ledger: Ledger, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    op = staged(ledger, make_candidate(1, 1), 0)
    raw = sqlite3.connect(file)
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    readonly = Ledger(f"sqlite:///file:{file}?mode=ro&uri=true")
    with pytest.raises(DependencyUnavailable, match="readonly"):
        readonly.commit(op.op_id, 0)
    assert ledger.head(MODEL) is None
    assert not Path("file:").exists(), "a URI is no folder to be made"


def test_full_disk_refuses_and_recovers(ledger: Ledger, file: Path) -> None:
    """A page limit stands in for the disk: SQLite reports both with the same error."""
    op = staged(ledger, make_candidate(1, 1), 0)

    def limited(connection: sqlite3.Connection, record: object) -> None:
        original(connection, record)
        connection.execute("PRAGMA max_page_count = 1")

    original = engine._on_sqlite_connect
    engine._on_sqlite_connect = limited
    try:
        full = Ledger(f"sqlite:///{file}")
        with pytest.raises(DependencyUnavailable, match="full"):
            for number in range(200):
                large = make_candidate(2, number + 10, bundle="b" * 4096)
                full.open_op(PROMOTE, MODEL, large, "ann", "fill")
    finally:
        engine._on_sqlite_connect = original
    assert ledger.verify() == []
    assert ledger.commit(op.op_id, 0).epoch == 1


def test_unusable_places_are_named(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, not a folder")
    with pytest.raises(DependencyUnavailable, match="blocked"):
        Ledger(f"sqlite:///{blocked}/ledger.db")
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"this is no database at all, but long enough to look at " * 40)
    with pytest.raises(IntegrityBroken, match="damaged"):
        Ledger(f"sqlite:///{garbage}")
    for url in ("sqlite://", "nonsense", "oracle99://x"):
        with pytest.raises(SpecError):
            Ledger(url)


@pytest.mark.parametrize(
    "changes",
    [
        {"cutoff": "2013-02-01T00:00:00"},
        {"cutoff": "2013-02-01T00:00:00.5+00:00"},
        {"cutoff": "yesterday"},
        {"digest": "f" * 64 + "\n"},
        {"digest": "../x"},
        {"sequence": 10**12},
        {"run_key": ""},
        {"unknown": 1},
    ],
)
def test_candidates_are_checked(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        make_candidate(1, 1, **changes)


def test_cut_offs_of_any_zone_are_one_order() -> None:
    kiritimati = make_candidate(1, 1, cutoff="2013-02-02T13:00:00+14:00")
    assert kiritimati.cutoff == "2013-02-01T23:00:00Z"
    texts = [OrderKey("2013-02-01T00:00:00Z", n).text for n in (2, 10, 999)]
    assert texts == sorted(texts)
    assert OrderKey.parse(texts[1]) == OrderKey("2013-02-01T00:00:00Z", 10)


def test_a_clock_that_is_a_day_off_decides_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(days=1)

    with monkeypatch.context() as ahead:
        ahead.setattr(appending, "datetime", Ahead)
        release(ledger, make_candidate(1, 1), 0)
    release(ledger, make_candidate(2, 2), 1)  # a day earlier by its own clock
    with monkeypatch.context() as ahead:
        ahead.setattr(appending, "datetime", Ahead)
        op = staged(ledger, make_candidate(1, 3), 2)
        with pytest.raises(Superseded, match="version 2"):
            ledger.commit(op.op_id, 2)
    first, second = (ledger.commit_of_epoch(MODEL, epoch) for epoch in (1, 2))
    assert first is not None and second is not None and first.at > second.at
    head = ledger.head(MODEL)
    assert head is not None and (head.epoch, head.version) == (2, 2)
    assert ledger.verify() == []


def test_file_is_not_world_writable(ledger: Ledger, file: Path) -> None:
    del ledger
    assert not file.stat().st_mode & stat.S_IWOTH


def test_a_ledger_of_before_gets_its_table_of_leases(ledger: Ledger, file: Path) -> None:
    release(ledger, make_candidate(1, 1), 0)
    raw = sqlite3.connect(file)
    raw.execute("DROP TABLE lease")
    raw.close()
    opened = Ledger(f"sqlite:///{file}")
    assert opened.lease(MODEL) is None and opened.verify() == []
    op = staged(opened, make_candidate(2, 2), 1)
    assert opened.take_lease(MODEL, op.op_id, "controller", 60).serial == 1


def test_a_lost_champion_is_a_lost_race_for_an_exposed_candidate(ledger: Ledger) -> None:
    release(ledger, make_candidate(1, 1), 0)
    op = staged(ledger, make_candidate(9, 9), 1)
    ledger.advance(op.op_id, State.EXPOSED, {})
    release(ledger, make_candidate(2, 2), 1)
    with pytest.raises(LostRace, match="epoch 2"):
        ledger.commit(op.op_id, 1)
