"""How much a day of the log has is told by its files, merged or not."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.serving.log.log_sizes import LogSizes
from ferryman.serving.log.prediction_log import own_fields
from ferryman.serving.log.upkeep import compact

DAY = date(2024, 1, 10)
NOON = datetime(2024, 1, 10, 12, tzinfo=UTC)


def write(root: Path, number: int, rows: int) -> None:
    folder = root / "tiny" / f"date={DAY}"
    folder.mkdir(parents=True, exist_ok=True)
    schema = pa.schema(own_fields())
    table = pa.Table.from_pylist([{"request_id": str(row)} for row in range(rows)], schema=schema)
    stamp = int(NOON.timestamp() * 1e9) + number
    pq.write_table(table, folder / f"{stamp}-r1-7-{number}-v1-e1.parquet")


def sizes(root: Path) -> tuple[str, int]:
    found = LogSizes([LocalObjectStore(root)], "tiny")
    return found.listing(DAY), found.rows(DAY)


def test_merging_changes_the_files_and_not_the_rows(tmp_path: Path) -> None:
    assert sizes(tmp_path)[1] == 0
    write(tmp_path, 1, 3)
    write(tmp_path, 2, 4)
    before = sizes(tmp_path)
    assert before[1] == 7
    kept = [path.read_bytes() for path in sorted((tmp_path / "tiny").rglob("*.parquet"))]
    assert compact(LocalObjectStore(tmp_path), "tiny", NOON + timedelta(days=2)) == 2
    merged = sizes(tmp_path)
    assert merged[1] == 7 and merged[0] != before[0]
    # A merging that was killed before it removed what it merged.
    folder = tmp_path / "tiny" / f"date={DAY}"
    stamp = int(NOON.timestamp() * 1e9) + 1
    (folder / f"{stamp}-r1-7-1-v1-e1.parquet").write_bytes(kept[0])
    assert sizes(tmp_path)[1] == 7
    write(tmp_path, 3, 5)
    assert sizes(tmp_path)[1] == 12
