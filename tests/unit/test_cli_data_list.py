"""`ferryman data list`: over one model or all, for people and for machines."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from test_cli import run_cli

from ferryman.data.versions.dataset_catalogue import DatasetCatalogue, describe
from ferryman.data.versions.dataset_version import DatasetVersion, manifest_key
from ferryman.data.versions.snapshots import SnapshotEntry, SnapshotStore
from ferryman.runtime.files import json_bytes
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.spec.windows import day_window

DAY = dt.datetime(2013, 1, 5, tzinfo=dt.UTC)


@pytest.fixture
def ids(tmp_path: Path) -> tuple[str, str]:
    """A published window and a dataset of `tiny`."""
    objects, window = LocalObjectStore(tmp_path / "data"), day_window(DAY)
    keys: dict[str, Any] = {
        "entity_key": ["a"],
        "event_time": pa.array([DAY], pa.timestamp("us", "UTC")),
    }
    entry = SnapshotEntry(reason="nightly [1]", actor="ann")
    store = SnapshotStore(objects)
    made = store.write("tiny", window, pa.table({**keys, "x": [1.0]}), pa.table(keys), entry)
    store.publish("tiny", window, made.id, "nightly [1]")
    bare = DatasetVersion(
        model="tiny",
        role="eval",
        cutoff=DAY,
        event_window=window,
        label="wet",
        columns=[("x", "number")],
        snapshot_ids=[made.id],
        label_snapshot_ids=[made.id],
        rows=1,
    )
    version = bare.model_copy(update={"id": bare.content_digest()})
    objects.create(manifest_key("tiny", version.id), json_bytes(version.model_dump(mode="json")))
    about = describe(version).model_copy(update={"label_share": 0.25, "reason": "drift"})
    DatasetCatalogue(objects).record(about)
    return made.id, version.id


def test_lists(
    ids: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "250")

    def listed(*arguments: str, code: int = 0) -> str:
        assert run_cli(monkeypatch, tmp_path, "data", "list", *arguments) == code
        said = capsys.readouterr()
        return said.out + said.err

    window, dataset = ids
    text = listed()  # every model: each row names its own
    for said in ("tiny", window[:16], "nightly [1]", dataset[:16], "evaluation at", "25.0%"):
        assert said in text
    assert dataset[:16] not in listed("--kind", "windows")
    assert window[:16] not in listed("--search", "drift")
    told = json.loads(listed("-m", "tiny", "--column", "x", "--json"))
    assert [entry["id"] for entry in told] == [window, dataset]
    assert [entry["labels"] for entry in told] == [1, None]
    assert json.loads(listed("-m", "tiny", "--search", "nothing like it", "--json")) == []
    assert "did you mean 'tiny'" in listed("-m", "tinny", code=2)
    assert "'windows', 'datasets'" in listed("--kind", "window", code=2)
