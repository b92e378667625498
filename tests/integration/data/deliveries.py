"""A good delivery in each format, and ways of damaging it."""

import gzip
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

CSV = b"""seen,station,humidity,rain
2013-01-02T06:00:00Z,north,71.5,0
2013-01-02T12:00:00Z,south,,3
2013-01-02T18:00:00Z,north,48,1
"""
ROWS: list[dict[str, Any]] = [
    {"seen": "2013-01-02T06:00:00Z", "station": "north", "humidity": 71.5, "rain": 0},
    {"seen": "2013-01-02T12:00:00Z", "station": "south", "humidity": None, "rain": 3},
    {"seen": "2013-01-02T18:00:00Z", "station": "north", "humidity": 48, "rain": 1},
]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
Change = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Damage:
    """A delivery of one day: its bytes, its manifest, what its source declares, and the text.

    In the text, FILE stands for the file's path, DIR for the installation's folder; one that ends
    in `...` goes on with a library's own words.
    """

    text: str
    content: bytes
    ending: str = "csv"
    manifest: dict[str, Any] | None = None
    declared: dict[str, Any] = field(default_factory=dict)


def table(**changes: pa.Array | None) -> pa.Table:
    """The good rows as a table with some columns changed, added or (None) left out."""
    seen = pa.array([row["seen"].replace("T", " ").replace("Z", "") for row in ROWS])
    columns = {
        "seen": seen.cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC")),
        "station": pa.array([row["station"] for row in ROWS]),
        "humidity": pa.array([row["humidity"] for row in ROWS], pa.float64()),
        "rain": pa.array([row["rain"] for row in ROWS]),
        **changes,
    }
    return pa.table({name: column for name, column in columns.items() if column is not None})


def parquet(**changes: pa.Array | None) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table(**changes), stream)
    return stream.getvalue()


def long_parquet(rows: int) -> bytes:
    """The first good row again and again, which takes next to nothing in a file."""
    stream = io.BytesIO()
    pq.write_table(table().take(pa.array([0] * rows, pa.int64())), stream)
    return stream.getvalue()


def cell(line: int, column: int, value: str) -> bytes:
    """The good CSV with another cell."""
    lines = [row.split(",") for row in CSV.decode().splitlines()]
    lines[line - 1][column] = value
    return "".join(",".join(row) + "\n" for row in lines).encode()


def value(line: int, **cells: Any) -> bytes:
    """The good JSON lines with other cells."""
    rows = [dict(row) for row in ROWS]
    rows[line - 1].update(cells)
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def spoilt(content: bytes, place: int) -> bytes:
    """Eight bytes turned round, where a place counts from the end if it is negative."""
    changed = bytearray(content)
    for number in range(place, place + 8):
        changed[number] ^= 0xFF
    return bytes(changed)


# Stored, not compressed: the same bytes with every zlib.
PARQUET, PACKED = parquet(), gzip.compress(CSV, 0, mtime=0)
RIGHT = {"bytes": len(CSV), "sha256": hashlib.sha256(CSV).hexdigest(), "rows": 3}
CUT = CSV[:-12]
HEADER = CSV.splitlines(keepends=True)[0]
ALIKE = HEADER + CSV.splitlines(keepends=True)[1] * 200_000
SMALL = gzip.compress(ALIKE, mtime=0)
