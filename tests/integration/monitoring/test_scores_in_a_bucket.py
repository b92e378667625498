"""Batch scores where data is kept in a bucket: written, found again, killed, removed in time."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr
from release_world import ROWS
from served_world import ServedWorld, at
from services import s3_server
from services.s3_server import KEY, SECRET, S3Server

from ferryman.errors import DataRejected, PolicyRefused, SpecError
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.runtime.data_store import open_own_data_store
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.run_store import run_folder
from ferryman.settings import Settings
from ferryman.spec.windows import Window
from ferryman.steps.contract import run_step


class Bucketed:
    """A released model whose snapshots and datasets lie in a bucket."""

    def __init__(self, folder: Path, make_bundle: Any, s3: S3Server) -> None:
        self.s3 = s3
        s3.connection("lake/data")
        where = f"s3://{KEY}:{SECRET}@lake/data?endpoint={s3.url}&region=us-east-1"
        disk = Settings(home=folder / "home", zoo=folder / "zoo")
        self.world = ServedWorld(disk, make_bundle)
        self.settings = disk.model_copy(
            update={"data_connection": "lake", "connection_urls": {"lake": SecretStr(where)}}
        )
        self.environment = {
            **os.environ,
            "FERRYMAN_HOME": str(disk.home),
            "FERRYMAN_ZOO": str(disk.zoo),
            "FERRYMAN_DATA_CONNECTION": "lake",
            "FERRYMAN_CONNECTION_LAKE": where,
        }
        self.store = open_own_data_store(self.settings)
        local = LocalObjectStore(disk.data_root)
        for key in local.keys(""):
            self.store.create(key, disk.data_root / key)
        shutil.rmtree(disk.data_root)
        self._runs = 0

    def run(
        self, step: str = "batch_score", window: Window | None = None, **params: Any
    ) -> StepResult:
        pipeline = {"batch_score": "scoring"}.get(step, step)
        self._runs += 1
        name = f"{step}-{self._runs}"
        request = StepRequest(
            model="tiny",
            step=step,
            run_id=name,
            run_uri=str(run_folder(self.settings.runs_root, "tiny", pipeline, name)),
            window=window,
            params=params,
            spec_digest=self.world.model.digest,
        )
        return run_step(request, self.world.model, self.settings)

    def scores(self) -> list[str]:
        return self.store.keys("tiny/scores")

    def table(self, result: StepResult) -> pa.Table:
        key = str(result.outputs["scores"]).removeprefix("s3://lake/data/")
        content = self.store.read(key)
        assert content is not None
        return pq.read_table(io.BytesIO(content))

    def make_old(self) -> None:
        """All scores, and the runs that made them, are of long ago."""
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        then = datetime.now(UTC) - timedelta(days=400)
        kept = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets["lake"].keys
        for key in self.scores():
            kept[f"data/{key}"].last_modified = then.replace(tzinfo=None)
        root = self.settings.runs_root
        for path in [root, *root.rglob("*")]:
            os.utime(path, (then.timestamp(), then.timestamp()))


@pytest.fixture
def bucketed(tmp_path: Path, make_bundle: Any) -> Iterator[Bucketed]:
    with S3Server() as s3:
        yield Bucketed(tmp_path, make_bundle, s3)


def test_scores_of_a_window_and_of_a_file_are_kept_in_the_bucket_and_found_again(
    bucketed: Bucketed,
) -> None:
    done = bucketed.run(window=at(2))
    assert str(done.outputs["manifest"]).startswith("s3://lake/data/tiny/scores/")
    table = bucketed.table(done)
    assert (table.column_names, table.num_rows) == (["entity_key", "event_time", "score"], ROWS)
    assert not bucketed.settings.data_root.exists()
    again = bucketed.run(window=at(2))
    assert "were scored already" in again.text
    assert again.outputs == done.outputs
    # Rows in a file of the same bucket are scored as they are in the window.
    columns = ["entity_key", "event_time", "carrier", "distance", "hour"]
    from ferryman.data.versions.snapshots import SnapshotStore

    snapshots = SnapshotStore(bucketed.store)
    snapshot = snapshots.current("tiny", at(2))
    assert snapshot is not None
    rows = io.BytesIO()
    pq.write_table(snapshots.read_features(snapshot).select(columns), rows)
    bucketed.store.create("planned/rows.parquet", rows.getvalue())
    of_file = bucketed.run(file="lake:planned/rows.parquet")
    assert bucketed.table(of_file).equals(table)
    assert len(bucketed.scores()) == 3  # one file, two manifests
    dataset = bucketed.run(dataset=str(bucketed.world.given["eval_dataset"])[:12])
    assert bucketed.table(dataset).num_rows == dataset.outputs["rows"] > 0
    bucketed.store.create("planned/text.parquet", b"no rows at all")
    with pytest.raises(DataRejected, match="is no Parquet file"):
        bucketed.run(file="lake:planned/text.parquet")
    with pytest.raises(SpecError, match="there is no file s3://lake/"):
        bucketed.run(file="lake:planned/none.parquet")
    with pytest.raises(SpecError, match="no connection 'sea'"):
        bucketed.run(file="sea:planned/rows.parquet")
    bucketed.s3.faults += [s3_server.refused]
    with pytest.raises(PolicyRefused):
        bucketed.run(window=at(3))
    told = "".join(file.read_text() for file in bucketed.settings.runs_root.rglob("*.json"))
    assert SECRET not in told


def test_a_batch_that_is_killed_before_its_manifest_is_done_again(bucketed: Bucketed) -> None:
    s3 = bucketed.s3
    day = f"{at(2).start:%Y-%m-%d}"
    command = [sys.executable, "-m", "ferryman.cli", "run", "scoring", "--model", "tiny"]
    given = [*command, "--window", day]
    s3.methods, s3.faults = ("PUT",), [s3_server.fine, s3_server.silent]
    before = len(s3.asked)
    process = subprocess.Popen(
        given, env=bucketed.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        deadline = time.monotonic() + 120
        while sum(asked.startswith("PUT") for asked in s3.asked[before:]) < 2:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    [file] = bucketed.scores()
    assert file.endswith(".parquet")
    again = subprocess.run(
        given, env=bucketed.environment, capture_output=True, text=True, check=True
    )
    assert again.stdout.strip() == f"batch_score done: {ROWS} rows scored with version 2, champion"
    manifest = next(key for key in bucketed.scores() if key.endswith(".json"))
    assert json.loads(bucketed.store.read(manifest) or b"")["file"]["key"] == file
    assert len(bucketed.scores()) == 2


def test_old_scores_go_from_the_bucket_however_often_that_is_cut_short(
    bucketed: Bucketed, empty_mlflow: Path
) -> None:
    settings, given = bucketed.settings, bucketed.world.given
    shutil.copytree(empty_mlflow, settings.home / "mlflow")
    registry = MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts)
    registry.register("tiny", given["run_key"], given["digest"], given["bundle"], {})
    gone, kept = bucketed.run(window=at(2)), bucketed.run(window=at(3))
    before = bucketed.scores()
    bucketed.make_old()
    assert bucketed.run(window=at(3)).outputs == kept.outputs  # a new run names them
    told = bucketed.run("maintenance")
    names = {str(gone.outputs[name]).rpartition("/")[2] for name in ("manifest", "scores")}
    assert {one["name"] for one in told.outputs["goes"] if one["kind"] == "scores"} == names
    assert bucketed.scores() == before
    bucketed.s3.methods, bucketed.s3.faults = ("DELETE",), [s3_server.fine, s3_server.refused]
    with pytest.raises(PolicyRefused):
        bucketed.run("maintenance", apply=True)
    bucketed.s3.faults.clear()
    assert str(gone.outputs["manifest"]) not in map(bucketed.store.uri, bucketed.scores())
    bucketed.run("maintenance", apply=True)
    left = sorted(str(kept.outputs[name]) for name in ("manifest", "scores"))
    assert [bucketed.store.uri(key) for key in bucketed.scores()] == left
    assert bucketed.table(kept).num_rows == ROWS
