"""The hash chain over the ledger's rows: one changed byte or one removed row is found."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from ferryman.ledger.engine import GENESIS
from ferryman.runtime.messages import canonical_json


def row_hash(row: Mapping[str, Any]) -> str:
    """The sha256 over every column of a row but its own hash; `prev_hash` ties it to the last."""
    content = {key: value for key, value in row.items() if key != "hash"}
    return hashlib.sha256(canonical_json(content)).hexdigest()


def broken_links(rows: Sequence[Mapping[str, Any]], tip: tuple[int, str]) -> list[str]:
    """Every place where the chain does not hold, in words; empty when all is as it was written.

    `rows` are all rows by seq; `tip` is the recorded seq and hash of the newest one.
    """
    found = []
    expected_seq, previous = 1, GENESIS
    for row in rows:
        if row["seq"] != expected_seq:
            found.append(f"rows {expected_seq} to {row['seq'] - 1} are missing")
        if row["prev_hash"] != previous:
            found.append(f"row {row['seq']} does not follow the row before it")
        if row_hash(row) != row["hash"]:
            found.append(f"row {row['seq']} was changed after it was written")
        expected_seq, previous = row["seq"] + 1, row["hash"]
    if (expected_seq - 1, previous) != tip:
        found.append(f"the newest row should be {tip[0]}, found {expected_seq - 1}")
    return found
