"""Delivered files in a bucket: the same snapshots as from a disk, and clear texts of what fails."""

import datetime as dt
import gzip
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deliveries import CSV, LINES, parquet
from services.s3_server import S3Server, busy, refused, short_body, spoilt_body

from ferryman.data.sources.files_source import FilesSource
from ferryman.errors import FerrymanError, exit_code_of
from ferryman.runtime.connections import Connections, GivenConnections
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.s3_object_store import S3ObjectStore
from ferryman.settings import Settings
from ferryman.spec.loader import load_model
from ferryman.spec.sources import FilesSourceSpec
from ferryman.spec.windows import day_window
from ferryman.steps.contract import run_step

TINY = Path(__file__).parents[2] / "zoo" / "tiny"
DAY = day_window(dt.datetime(2013, 1, 2, tzinfo=dt.UTC))
DELIVERIES = {
    "csv": CSV,
    "csv.gz": gzip.compress(CSV),
    "jsonl": LINES,
    "ndjson.gz": gzip.compress(LINES),
    "parquet": parquet(),
}


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


def ingest(folder: Path, ending: str, connections: Connections, where: str = "") -> StepResult:
    """Ingest the day of the model `tiny`, from files with an ending."""
    shutil.rmtree(folder / "zoo", ignore_errors=True)
    shutil.copytree(TINY, folder / "zoo" / "tiny")
    declaration = folder / "zoo" / "tiny" / "model.yaml"
    text = declaration.read_text()
    monthly = "path: tiny/days_{year}-{month}.csv\n"
    daily = f"path: tiny/{{year}}-{{month}}-{{day}}/*.{ending}\n      {where}\n"
    assert monthly in text
    declaration.write_text(text.replace(monthly, daily))
    settings = Settings(
        root=folder, home=folder / "home", zoo=folder / "zoo", source_root=folder / "raw", cpus=1
    )
    request = StepRequest(
        model="tiny",
        step="ingest",
        run_id=f"{ending} {where}",
        run_uri=str(folder / "home" / "runs" / ending / where[:4]),
        window=DAY,
        spec_digest="0" * 64,
    )
    return run_step(request, load_model(folder / "zoo" / "tiny"), settings, connections)


def snapshots(result: StepResult) -> list[Any]:
    found: Any = result.outputs["snapshots"]
    return [snapshot["id"] for snapshot in found]


def test_a_bucket_and_a_disk_give_the_same_snapshot_in_every_format(
    s3: S3Server, tmp_path: Path
) -> None:
    lake = GivenConnections(s3.connection("deliveries/from outside"))
    day = "tiny/2013-01-02/Zürich 7 Uhr"
    (tmp_path / "raw" / day).parent.mkdir(parents=True)
    seen = set()
    for ending, content in DELIVERIES.items():
        (tmp_path / "raw" / f"{day}.{ending}").write_bytes(content)
        s3.client().put_object(
            Bucket="deliveries", Key=f"from outside/{day}.{ending}", Body=content
        )
        seen.update(snapshots(ingest(tmp_path, ending, lake)))
        again = ingest(tmp_path, ending, lake, "connection: lake")
        assert again.metrics["rows"] == 3
        seen.update(snapshots(again))
    assert len(seen) == 1


Store = Callable[..., FilesSource]


@pytest.fixture
def source(s3: S3Server) -> Store:
    def make(content: bytes | None, ending: str = "csv", **changes: Any) -> FilesSource:
        connection = s3.connection("lake")
        if content is not None:
            s3.client().put_object(Bucket="lake", Key=f"rows.{ending}", Body=content)
        columns = {
            "seen": {"type": "timestamp"},
            "station": {"type": "category"},
            "humidity": {"type": "number", "nullable": True},
            "rain": {"type": "integer"},
        }
        values = {"kind": "files", "path": f"rows.{ending}", "event_time": "seen"}
        spec = FilesSourceSpec.model_validate({**values, "columns": columns, **changes})
        return FilesSource("days", spec, S3ObjectStore(connection, patience=5))

    return make


def refusal(source: FilesSource) -> tuple[int, str]:
    with pytest.raises(FerrymanError) as caught:
        source.read(DAY, DAY)
    assert len(caught.value.remedy) > 10
    return int(exit_code_of(caught.value)), caught.value.text


def test_faults_of_a_bucket(s3: S3Server, source: Store) -> None:
    assert refusal(source(None)) == (
        3,
        "source 'days': no file s3://lake/rows.csv, needed for "
        "[2013-01-02T00:00:00Z, 2013-01-03T00:00:00Z)",
    )
    reader = source(CSV)
    s3.faults[:] = [refused]
    assert refusal(reader) == (9, "S3 refuses s3://lake/rows.csv: 403 403")
    s3.faults[:] = [busy] * 100
    code, text = refusal(reader)
    assert (code, text.partition(" in ")[0]) == (6, "S3 gave no answer for s3://lake/rows.csv")
    assert "503" in text
    s3.faults.clear()
    assert reader.read(DAY, DAY).table.num_rows == 3


@pytest.mark.parametrize("fault", [short_body, spoilt_body])
def test_an_object_that_comes_short_or_changed_is_fetched_again(
    s3: S3Server, source: Store, fault: Any
) -> None:
    s3.methods = ("GET",)
    s3.client().create_bucket(Bucket="lake")
    s3.client().put_object(Bucket="lake", Key="rows.csv", Body=CSV, ChecksumAlgorithm="SHA256")
    reader = source(None)
    s3.faults[:] = [fault]
    assert reader.read(DAY, DAY).table.num_rows == 3
    s3.faults[:] = [fault] * 100
    code, text = refusal(
        source(
            None,
        )
    )
    assert code == 6
    assert "S3 gave no answer for s3://lake/rows.csv" in text


def test_what_was_cut_off_before_it_came_to_the_bucket(source: Store) -> None:
    assert refusal(source(CSV[:-5])) == (
        3,
        "s3://lake/rows.csv: line 4, the last, does not end with a newline: it was cut off",
    )
    code, text = refusal(source(parquet()[:-9], "parquet"))
    assert code == 3
    assert text.startswith("s3://lake/rows.parquet: truncated: a Parquet file ends with b'PAR1'")


def test_an_object_above_its_cap_is_not_fetched(s3: S3Server, source: Store) -> None:
    reader = source(CSV, max_bytes=100)
    asked = len(s3.asked)
    assert refusal(reader) == (3, "s3://lake/rows.csv: 123 bytes are more than max_bytes, 100")
    assert all(request.startswith("HEAD") for request in s3.asked[asked:])
