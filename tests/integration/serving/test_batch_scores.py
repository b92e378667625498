"""Batch scores: equal to what the running server answers, made once, and of the version asked."""

import json
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from release_world import ROWS, candidate
from running_server import RunningServer
from served_world import ServedWorld, at

from ferryman.errors import (
    DataRejected,
    DependencyUnavailable,
    IntegrityBroken,
    PolicyRefused,
    SpecError,
)
from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import Candidate, State
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.run_store import run_folder
from ferryman.spec.windows import Window
from ferryman.steps.contract import run_step

KEYED = ("entity_key", "score")


class Batches:
    """Runs of `scoring` beside a server that serves what the ledger says."""

    def __init__(self, server: RunningServer, zoo: Path, make_bundle: Any) -> None:
        self.server = server
        self.settings = server.settings.model_copy(update={"zoo": zoo})
        self.make_bundle = make_bundle
        self.world = ServedWorld(self.settings, make_bundle)
        self.first = datetime.now(UTC)
        server.load(make_bundle(self.settings.bundles_root, 10.0), 1)
        self._runs = 0

    def release(self, version: int, base: int) -> dict[str, Any]:
        given = candidate(self.settings, version, self.make_bundle)
        ledger = Ledger(self.settings.ledger_url)
        op = ledger.open_op(PROMOTE, "tiny", Candidate(**given), "test", "test")
        ledger.advance(op.op_id, State.REGISTERED, {})
        passed = {"outcome": "passed", "candidate": {"log_loss": 0.4}}
        ledger.advance(op.op_id, State.GATED, passed, base_epoch=base)
        ledger.advance(op.op_id, State.STAGED, {})
        ledger.commit(op.op_id, base)
        return given

    def score(self, window: Window | None = None, **params: Any) -> StepResult:
        self._runs += 1
        name = f"batch-{self._runs}"
        folder = run_folder(self.settings.runs_root, "tiny", "scoring", name)
        request = StepRequest(
            model="tiny",
            step="batch_score",
            run_id=name,
            run_uri=str(folder),
            window=window,
            params=params,
            spec_digest=self.world.model.digest,
        )
        return run_step(request, self.world.model, self.settings)

    def online(self, rows: list[dict[str, Any]]) -> list[float]:
        """What the running server answers, a few hundred rows at a time."""
        url = f"{self.server.endpoint.url}/v1/models/tiny:predict"
        found: list[float] = []
        with httpx.Client(trust_env=False) as http:
            for start in range(0, len(rows), 500):
                answer = http.post(url, json={"instances": rows[start : start + 500]})
                assert answer.status_code == 200, answer.text
                found += answer.json()["predictions"]
        return found


@pytest.fixture
def batches(start_server: Any, make_bundle: Any, tmp_path: Path) -> Batches:
    return Batches(start_server(replicas=1), tmp_path / "zoo", make_bundle)


def scores_of(result: StepResult) -> pa.Table:
    return pq.ParquetFile(str(result.outputs["scores"]).removeprefix("file://")).read()


def manifest_of(result: StepResult) -> dict[str, Any]:
    return json.loads(Path(str(result.outputs["manifest"]).removeprefix("file://")).read_bytes())


def asked(world: ServedWorld, window: Window) -> list[dict[str, Any]]:
    from ferryman.data.versions.snapshots import SnapshotStore
    from ferryman.runtime.local_object_store import LocalObjectStore

    store = SnapshotStore(LocalObjectStore(world.settings.data_root))
    found = []
    for day in window.days():
        snapshot = store.current("tiny", day)
        assert snapshot is not None
        table = store.read_features(snapshot).select(["carrier", "distance", "hour"])
        found += table.to_pylist()
    return found


def test_every_row_of_a_window_is_scored_as_the_server_answers_it(batches: Batches) -> None:
    window = Window(start=at(1).start, end=at(3).end)
    done = batches.score(window)
    table = scores_of(done)
    assert table.column_names == ["entity_key", "event_time", "score"]
    assert table.num_rows == 3 * ROWS == done.outputs["rows"]
    rows = asked(batches.world, window)
    assert any(row["distance"] is None for row in rows)
    online = batches.online(rows)
    assert np.abs(table["score"].to_numpy() - online).max() <= 1e-6
    told = manifest_of(done)
    assert (told["version"], told["epoch"], told["why"]) == (2, 1, "champion")
    assert [one["window"] for one in told["source"]] == [str(day) for day in window.days()]
    # No user was answered.
    predictions = batches.settings.predictions_root
    assert not predictions.is_dir() or "entity_key" not in str(list(predictions.rglob("*")))
    again = batches.score(window)
    assert again.text == f"{3 * ROWS} rows were scored already with version 2, champion"
    assert again.outputs == done.outputs


def test_the_champion_of_then_scores_though_another_serves_now(batches: Batches) -> None:
    then = batches.score(at(2))
    between = datetime.now(UTC).isoformat()
    time.sleep(0.01)
    newer = batches.release(4, 1)
    now = batches.score(at(2))
    assert (now.outputs["version"], now.outputs["epoch"]) == (4, 2)
    assert now.outputs["digest"] == newer["digest"]
    past = batches.score(at(2), as_of=between)
    assert (past.outputs["version"], past.outputs["epoch"]) == (2, 1)
    # The same scores: the same file, under a manifest of its own that says who asked for what.
    assert past.outputs["scores"] == then.outputs["scores"] != now.outputs["scores"]
    assert manifest_of(past)["why"] == "champion of then"
    named = batches.score(at(2), version=2)
    assert named.outputs["scores"] == then.outputs["scores"]
    with pytest.raises(PolicyRefused, match="nothing of 'tiny' had been released by 2013-02-01"):
        batches.score(at(2), as_of="2013-02-01")


def test_a_dataset_and_a_file_are_scored_as_a_window_is(batches: Batches) -> None:
    dataset = batches.world.given["eval_dataset"]
    by_dataset = scores_of(batches.score(dataset=dataset[:12]))
    rows = asked(batches.world, at(1))
    place = batches.settings = batches.settings.model_copy(
        update={"source_root": batches.settings.home / "sources"}
    )
    file = place.source_root / "in" / "rows.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), file)
    done = batches.score(file="in/rows.parquet")
    assert scores_of(done).column_names == ["score"]
    assert np.abs(scores_of(done)["score"].to_numpy() - batches.online(rows)).max() <= 1e-6
    assert by_dataset.num_rows > 0
    of_days = scores_of(batches.score(Window(start=at(0).start, end=at(6).end)))
    of_window = dict(zip(*(of_days[name].to_pylist() for name in KEYED), strict=True))
    both = [
        (score, of_window[key])
        for key, score in zip(*(by_dataset[name].to_pylist() for name in KEYED), strict=True)
        if key in of_window
    ]
    assert len(both) == by_dataset.num_rows
    assert all(abs(one - other) <= 1e-6 for one, other in both)


def test_what_a_server_refuses_is_refused_and_nothing_is_kept(batches: Batches) -> None:
    settings = batches.settings = batches.settings.model_copy(
        update={"source_root": batches.settings.home / "sources"}
    )
    settings.source_root.mkdir()
    rows = asked(batches.world, at(1))
    rows[417]["hour"] = None  # type: ignore[assignment]
    rows[417]["carrier"] = "x" * 1_001
    pq.write_table(pa.Table.from_pylist(rows), settings.source_root / "bad.parquet")
    with pytest.raises(DataRejected, match="row 417, column 'carrier': longer than 1000"):
        batches.score(file="bad.parquet")
    kept = settings.data_root / "tiny" / "scores"
    assert not kept.is_dir()
    (settings.source_root / "text.parquet").write_text("no rows at all")
    with pytest.raises(DataRejected, match="is no Parquet file"):
        batches.score(file="text.parquet")
    pq.write_table(pa.table({"carrier": ["UA"]}), settings.source_root / "few.parquet")
    with pytest.raises(DataRejected, match="no column distance, hour, which the version takes"):
        batches.score(file="few.parquet")
    with pytest.raises(PolicyRefused):
        batches.score(file="../home.parquet")
    with pytest.raises(SpecError, match="there is no file"):
        batches.score(file="none.parquet")
    with pytest.raises(DependencyUnavailable, match="no published snapshot"):
        batches.score(at(40))
    with pytest.raises(SpecError, match="cannot both be given"):
        batches.score(at(1), version=2, as_of="2013-02-01")
    with pytest.raises(SpecError, match="knows no version 9"):
        batches.score(at(1), version=9)
    with pytest.raises(SpecError, match="has not come yet"):
        batches.score(at(1), as_of=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    assert not kept.is_dir()


def test_a_bundle_that_is_gone_is_restored_or_told(batches: Batches) -> None:
    digest = str(batches.world.given["digest"])
    shutil.rmtree(batches.settings.bundles_root / "tiny" / digest)
    assert batches.score(at(1)).outputs["rows"] == ROWS  # from the server's verified copy
    newer = batches.release(4, 1)
    place = batches.settings.bundles_root / "tiny" / str(newer["digest"])
    shutil.rmtree(place)
    with pytest.raises(IntegrityBroken, match="version 4 of tiny cannot be loaded") as refused:
        batches.score(at(1))
    assert "Versions in order here: 2." in refused.value.remedy
    batches.make_bundle(batches.settings.bundles_root, 0.1)
    graph = next(file for file in place.iterdir() if file.suffix == ".onnx")
    graph.write_bytes(graph.read_bytes()[:-1])
    with pytest.raises(IntegrityBroken, match="version 4 of tiny cannot be loaded"):
        batches.score(at(1))
