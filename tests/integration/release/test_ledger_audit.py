"""The audit finds one changed byte anywhere, and rows that no rule would have written."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ledger_world import (
    MODEL,
    REASON,
    decide,
    exposed,
    finish,
    make_candidate,
    release,
    roll_back,
    set_weight,
    staged,
)
from sqlalchemy import Connection, create_engine, update

from ferryman.errors import IntegrityBroken
from ferryman.ledger import tables
from ferryman.ledger.appending import append_note, append_state
from ferryman.ledger.chain import row_hash
from ferryman.ledger.engine import GENESIS
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.queries import read_head, require_op
from ferryman.ledger.records import ROLLBACK, TRAFFIC, Op, State
from ferryman.ledger.rows import head_json
from ferryman.ledger.words import Act

BY = Act("eve", REASON)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(file: Path) -> Ledger:
    return Ledger(f"sqlite:///{file}")


def fill(ledger: Ledger) -> None:
    """Every kind of row."""
    release(ledger, 1)
    op = staged(ledger, make_candidate(2, 2), 1, approval=True, exposure=True)
    decide(ledger, op)
    ledger.advance(op.op_id, State.EXPOSED, {})
    serial = ledger.take_lease(MODEL, op.op_id, "controller", 60).serial
    set_weight(ledger, op, serial, 0.05)
    ledger.advance(op.op_id, State.PROVEN, {})
    ledger.commit(op.op_id, 1)
    finish(ledger, op.op_id)
    roll_back(ledger, ledger.good_versions(MODEL)[0])
    ledger.set_held(MODEL, 2, True, actor="ann", reason=REASON)
    ledger.set_frozen(MODEL, True, actor="ann", reason=REASON)
    ledger.note("guard", MODEL, actor="guard", reason="all is well", evidence={})
    assert ledger.verify() == []


def other_value(column: str, value: Any) -> Any:
    """The value with one byte of it changed, in its middle."""
    if column == "seq":
        return value + 1000  # no number that another row has
    if isinstance(value, int):
        return value ^ 1
    place = len(value) // 2
    return value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :] if value else "x"


@pytest.mark.parametrize("table", [tables.ops, tables.head, tables.tip, tables.quarantine])
def test_one_changed_byte_in_any_column_of_any_row_is_found(
    ledger: Ledger, file: Path, table: Any
) -> None:
    fill(ledger)
    columns = [column.name for column in table.columns if column.name != "id"]
    with closing(sqlite3.connect(file, isolation_level=None)) as raw:
        raw.execute("PRAGMA synchronous=OFF")
        raw.execute("DROP TRIGGER ops_no_update")
        rows = [row for (row,) in raw.execute(f"SELECT rowid FROM {table.name}")]  # noqa: S608
        assert len(rows) == {"ops": 27}.get(table.name, 1)
        for row in rows:
            for column in columns:
                read = f"SELECT {column} FROM {table.name} WHERE rowid = ?"  # noqa: S608
                change = f"UPDATE {table.name} SET {column} = ? WHERE rowid = ?"  # noqa: S608
                (value,) = raw.execute(read, (row,)).fetchone()
                other = other_value(column, value)
                raw.execute(change, (other, row))
                found = ledger.verify()
                raw.execute(
                    change, (value, other if (table, column) == (tables.ops, "seq") else row)
                )
                assert found, f"{table.name}.{column} was {value!r}"
                if table is tables.ops and column != "seq":
                    assert any(f"row {row}" in text or "newest" in text for text in found), found
    assert ledger.verify() == []


def test_bytes_that_are_no_text_are_damage(ledger: Ledger, file: Path) -> None:
    release(ledger, 1)
    with closing(sqlite3.connect(file, isolation_level=None)) as raw:
        raw.execute("DROP TRIGGER ops_no_update")
        raw.execute("UPDATE ops SET actor = CAST(X'61FF62' AS TEXT) WHERE seq = 3")
    with pytest.raises(IntegrityBroken, match="actor"):
        ledger.verify()


def test_a_lease_is_no_part_of_the_audit(ledger: Ledger, file: Path) -> None:
    fill(ledger)
    with closing(sqlite3.connect(file, isolation_level=None)) as raw:
        assert raw.execute("UPDATE lease SET holder = 'eve', serial = 9").rowcount == 1
    assert ledger.verify() == []


def drop_rows(file: Path, condition: str) -> None:
    """Take rows away and chain the others anew, as somebody would who knows the chain."""
    with closing(sqlite3.connect(file, isolation_level=None)) as raw:
        raw.row_factory = sqlite3.Row
        for verb in ("update", "delete"):
            raw.execute(f"DROP TRIGGER ops_no_{verb}")
        query = f"SELECT * FROM ops WHERE NOT ({condition}) ORDER BY seq"  # noqa: S608
        rows = [dict(row) for row in raw.execute(query)]
        raw.execute("DELETE FROM ops")
        newest = GENESIS
        for number, row in enumerate(rows, 1):
            row |= {"seq": number, "prev_hash": newest}
            newest = row["hash"] = row_hash(row)
            marks = ", ".join("?" for _ in row)
            raw.execute(f"INSERT INTO ops ({', '.join(row)}) VALUES ({marks})", [*row.values()])  # noqa: S608
        raw.execute("UPDATE tip SET seq = ?, hash = ?", (len(rows), newest))


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("state = 'APPROVED'", "not approved yet"),
        ("state = 'APPROVED' OR state = 'EXPOSED' OR kind = 'traffic'", "PROVEN cannot follow"),
        ("state IN ('APPROVED', 'EXPOSED', 'PROVEN') OR kind = 'traffic'", "without APPROVED"),
        ("state = 'PROVEN'", "that was EXPOSED was committed"),
        ("state = 'GATED'", "STAGED cannot follow"),
        ("kind = 'quarantine'", "did not quarantine what it left"),
        ("kind = 'freeze'", "the head of flights"),
        ("kind = 'rollback'", "the head of flights"),
        ("state = 'DONE' AND base_epoch = 1 AND kind = 'promote'", "what really served"),
    ],
)
def test_rows_that_were_taken_out_are_missed(
    ledger: Ledger, file: Path, condition: str, found: str
) -> None:
    fill(ledger)
    drop_rows(file, condition)
    assert any(found in text for text in ledger.verify()), ledger.verify()


def commit_by_hand(connection: Connection, op: Op) -> None:
    before = read_head(connection, op.model)
    made = op.candidate.model_dump(include={"version", "digest", "bundle"})
    values = {**made, "epoch": op.base_epoch + 1, "order_key": op.order_key.text}
    connection.execute(update(tables.head).where(tables.head.c.model == op.model).values(values))
    told = {"before": head_json(before), "after": head_json(read_head(connection, op.model))}
    append_state(connection, op, State.COMMITTED, told)


def approve_as(actor: str, requester: str) -> Callable[[Connection, Op], None]:
    def forge(connection: Connection, op: Op) -> None:
        told = {"approved": True, "requester": requester, "digest": op.candidate.digest, "epoch": 1}
        append_state(connection, op, State.APPROVED, told, Act(actor, REASON))

    return forge


def give_share(connection: Connection, op: Op) -> None:
    told: dict[str, Any] = {"op": op.op_id, "version": 9, "digest": op.candidate.digest}
    told |= {"serial": 1, "stage": 0, "variant": "canary", "weight": 0.5, "lease_seconds": 9.0}
    append_note(connection, TRAFFIC, MODEL, BY, told)


@pytest.mark.parametrize(
    ("forge", "found"),
    [
        (commit_by_hand, "without APPROVED"),
        (approve_as("cleo", "Cleo"), "may not approve"),
        (approve_as("ANN", "cleo"), "may not approve"),
        (lambda c, op: append_state(c, op, State.PROVEN, {}), "PROVEN cannot follow"),
        (lambda c, op: append_state(c, op, State.EXPOSED, {}), "not approved yet"),
        (lambda c, op: append_state(c, op, State.APPROVED, {}), "KeyError"),
        (lambda c, op: append_state(c, op, State.COMMITTED, {}), "without APPROVED"),
        (lambda c, op: append_state(c, op, State.DONE, {}), "DONE cannot follow"),
        (lambda c, _: append_note(c, "freeze", MODEL, BY, {}), "the head of flights"),
        (lambda c, _: append_note(c, "unfreeze", MODEL, BY, {}), "not frozen"),
        (lambda c, _: append_note(c, TRAFFIC, MODEL, BY, {}), "KeyError"),
        (give_share, "STAGED or quarantined had a share"),
        (
            lambda c, op: append_state(c, op._replace(kind=ROLLBACK), State.EXPOSED, {}),
            "not that of its operation",
        ),
    ],
)
def test_a_row_of_a_right_chain_that_no_rule_allows_is_found(
    ledger: Ledger, file: Path, forge: Callable[[Connection, Op], Any], found: str
) -> None:
    release(ledger, 1)
    op = staged(ledger, make_candidate(9, 9), 1, approval=True)
    with create_engine(f"sqlite:///{file}").begin() as connection:
        forge(connection, require_op(connection, op.op_id))
    assert any(found in text for text in ledger.verify()), ledger.verify()


def test_a_commit_while_exposed_is_found(ledger: Ledger, file: Path) -> None:
    release(ledger, 1)
    op, _ = exposed(ledger, 9)
    with create_engine(f"sqlite:///{file}").begin() as connection:
        commit_by_hand(connection, require_op(connection, op.op_id))
    assert ledger.verify() == [
        f"row {ledger.history(MODEL)[-1].seq} of flights could not be written so: "
        "a promote that was EXPOSED was committed"
    ]
