"""Checks the whole ledger against itself: the chain, the rules, and the tables that follow from it.

Leases are no part of it: they change, and say only who may act in the next seconds.
"""

from typing import Any

from sqlalchemy import Connection, Table, select

from ferryman.ledger import tables
from ferryman.ledger.chain import broken_links
from ferryman.ledger.engine import lock_tip
from ferryman.ledger.lawful import unlawful
from ferryman.ledger.records import ROLLBACK
from ferryman.ledger.replay import Replay
from ferryman.ledger.rows import head_json, record_of, store_json


def problems(connection: Connection) -> list[str]:
    """Every disagreement, in words; empty when the ledger is as it was written."""
    rows = _all_of(connection, tables.ops)
    rows.sort(key=lambda row: int(row["seq"]))
    found = broken_links(rows, lock_tip(connection))
    if found:
        return found  # rows that were changed cannot be read as evidence
    replays, found = _replayed(rows)
    if found:
        return found
    return (
        _rollback_problems(replays)
        + _head_problems(connection, replays)
        + _quarantine_problems(connection, replays)
    )


def _replayed(rows: list[dict[str, Any]]) -> tuple[dict[str, Replay], list[str]]:
    """Every model's rows, one after the other; the first unlawful one of a model ends its way."""
    replays: dict[str, Replay] = {}
    found: dict[str, str] = {}
    for row in rows:
        model = str(row["model"])
        if model in found:
            continue
        replay = replays.setdefault(model, Replay())
        try:
            record = record_of(row)
            why = unlawful(replay, record)
            if why is None:
                replay.follow(record)
        except (KeyError, TypeError, ValueError) as error:
            why = f"it is not a {row['kind']} that was {row['state']} ({type(error).__name__})"
        if why is not None:
            found[model] = f"row {row['seq']} of {model} could not be written so: {why}"
    return replays, list(found.values())


def _rollback_problems(replays: dict[str, Replay]) -> list[str]:
    return [
        f"row {commit.seq} of {model}: the rollback did not quarantine what it left"
        for model, replay in sorted(replays.items())
        for commit in replay.commits.values()
        if commit.kind == ROLLBACK and commit.evidence["before"]["digest"] not in replay.barred
    ]


def _head_problems(connection: Connection, replays: dict[str, Replay]) -> list[str]:
    heads = {row["model"]: row for row in _all_of(connection, tables.head)}
    found = []
    for model in sorted(replays.keys() | heads.keys()):
        row, replay = heads.get(model), replays.get(model)
        last_good = row.pop("last_good") if row else None
        expected = replay.head if replay else None
        if row != head_json(expected):
            found.append(f"the head of {model} is not what its last commit made it")
        elif expected and last_good != store_json(expected.last_good):
            found.append(f"last_good of {model} is not what really served")
    return found


def _quarantine_problems(connection: Connection, replays: dict[str, Replay]) -> list[str]:
    ordered = {
        (model, digest, note.reason, note.at.isoformat(timespec="microseconds"))
        for model, replay in replays.items()
        for digest, note in replay.barred.items()
    }
    kept = {
        (row["model"], row["digest"], row["why"], row["at"])
        for row in _all_of(connection, tables.quarantine)
    }
    differing = {(model, digest) for model, digest, _, _ in ordered ^ kept}
    return [
        f"the quarantine of {model} {digest[:12]} differs from what was ordered"
        for model, digest in sorted(differing)
    ]


def _all_of(connection: Connection, table: Table) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(select(table))]
