"""A disk and a bucket behave the same: ingest, publish, build and read datasets, maintain."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from services import s3_server
from services.s3_server import S3Server

from ferryman.data.versions.dataset import DatasetStore
from ferryman.data.versions.listing import list_windows
from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.data.versions.verification import verify_model
from ferryman.errors import PolicyRefused
from ferryman.runtime.data_store import open_own_data_store
from ferryman.settings import Settings
from ferryman.spec.windows import Window
from ferryman.steps.journey import Journey

if TYPE_CHECKING:
    import pandas as pd

    from ferryman.spec.model import DeclaredModel

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 12


def live(settings: Settings, model: "DeclaredModel") -> dict[str, Any]:
    """Ingest days, then look at everything; what was seen."""
    window = Window(start=START, end=START + timedelta(days=DAYS))
    results = list(Journey(settings, model).run("ingest", window=window))
    objects = open_own_data_store(settings)
    datasets = DatasetStore(objects)
    spec = model.spec.model_copy(
        update={
            "train": model.spec.train.model_copy(
                update={"window": timedelta(days=6), "holdout": timedelta(days=3)}
            )
        }
    )
    train, evaluation = datasets.split(spec, window.end)
    frame = datasets.load(train.id, "rain")
    newest = SnapshotStore(objects).newest("rain")
    return {
        "texts": [result.text for result in results],
        "datasets": (train.id, evaluation.id),
        "frame": (frame.shape, float(frame["humidity"].sum())),
        "windows": [(row.window, row.snapshot, row.rows) for row in list_windows(objects, "rain")],
        "newest": newest.window if newest else None,
        "broken": verify_model(objects, "rain").texts,
        "keys": [key for key in objects.keys("") if "/used/" not in key and "entry" not in key],
    }


def test_the_same_life_on_a_disk_and_in_a_bucket(
    tmp_path: Path, rain: "DeclaredModel", rain_hours: "Callable[..., pd.DataFrame]"
) -> None:
    source = tmp_path / "source" / "rain"
    source.mkdir(parents=True)
    rain_hours(DAYS).to_parquet(source / "hours_2024-01.parquet")
    common: dict[str, Any] = {
        "root": tmp_path, "zoo": rain.folder.parent, "source_root": source.parent,
        "code_version": "test",
    }  # fmt: skip
    with S3Server() as server:
        made = server.connection("lake/team/data")
        where = f"{s3_server.KEY}:{s3_server.SECRET}@lake/team/data?endpoint={server.url}"
        urls = {"lake": SecretStr(f"s3://{where}&region=us-east-1")}
        bucket = Settings(
            home=tmp_path / "bucket", data_connection=made.name, connection_urls=urls, **common
        )
        disk = Settings(home=tmp_path / "disk", **common)
        seen = live(bucket, rain)
        assert seen == live(disk, rain)
        assert not bucket.data_root.exists()
        assert len(seen["windows"]) == DAYS
        assert seen["broken"] == []
        again = list(
            Journey(bucket, rain).run(
                "ingest", window=Window(start=START, end=START + timedelta(days=1))
            )
        )
        assert again[0].metrics["new_snapshots"] == 0
        server.faults += [s3_server.refused]
        with pytest.raises(PolicyRefused) as caught:
            live(bucket, rain)
        assert s3_server.SECRET not in str(caught.value)
        text = "".join(file.read_text() for file in bucket.runs_root.rglob("*.json"))
        assert s3_server.SECRET not in text
