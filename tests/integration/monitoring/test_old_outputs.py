"""Maintenance removes old backfills and scores, but what the result of a kept run names."""

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from lived_nights import Past
from served_world import at

from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.runtime import old_runs
from ferryman.runtime.lineage_events import events_file
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.run_store import run_folder
from ferryman.spec.windows import Window
from ferryman.steps.contract import run_step

LONG_AGO = time.time() - 400 * 86_400


class Installation:
    """Two backfills of a night, and three batches: of one day, and twice of another."""

    def __init__(self, folder: Path, make_bundle: Any, empty_mlflow: Path) -> None:
        self.past = past = Past(folder, make_bundle, range(7, 8))
        self.settings = past.settings
        shutil.copytree(empty_mlflow, self.settings.home / "mlflow")
        registry = MlflowRegistry(self.settings.mlflow_uri, self.settings.mlflow_artifacts)
        given = past.world.given
        registry.register("tiny", given["run_key"], given["digest"], given["bundle"], {})
        for name in ("old", "kept"):
            past.run(7, name, backfill=True)
        self.scores = [
            Path(str(self.run("batch_score", "scoring", name, at(day)).outputs["scores"])[7:])
            for name, day in (("gone", 6), ("first", 7), ("again", 7))
        ]
        self.backfills = self.settings.monitoring_root / "backfills"
        self.runs = self.settings.runs_root / "tiny"
        for root in (self.backfills, self.runs, self.scores[0].parent):
            for path in [root, *root.rglob("*")]:
                os.utime(path, (LONG_AGO, LONG_AGO))
        for run in (self.name("monitoring", "kept-7"), self.name("scoring", "again")):
            os.utime(self.runs / run)

    def name(self, pipeline: str, run: str) -> str:
        """A run's folder, below those of the model."""
        folder = run_folder(self.settings.runs_root, "tiny", pipeline, run)
        return f"{pipeline}/{folder.name}"

    def run(
        self, step: str, pipeline: str, name: str, window: Window | None = None, **params: Any
    ) -> StepResult:
        request = StepRequest(
            model="tiny",
            step=step,
            run_id=name,
            run_uri=str(run_folder(self.settings.runs_root, "tiny", pipeline, name)),
            window=window,
            params=params,
            spec_digest=self.past.world.model.digest,
        )
        return run_step(request, self.past.world.model, self.settings)

    def maintain(self, **params: Any) -> StepResult:
        return self.run("maintenance", "maintenance", "m", **params)

    def kept(self) -> list[str]:
        """Backfills and files of scores that there are, hidden ones too."""
        files = [*self.backfills.glob("*/*"), *self.scores[0].parent.iterdir()]
        return sorted(str(file.relative_to(self.settings.home)) for file in files)


@pytest.fixture
def installation(
    tmp_path: Path, make_bundle: Any, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    (tmp_path / "tmp").mkdir()  # what others left in the machine's own place is no matter
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return Installation(tmp_path, make_bundle, empty_mlflow)


def test_what_no_kept_run_names_goes_however_often_the_removal_is_killed(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, first, again = installation.scores
    old = installation.name("monitoring", "old-7")
    backfill = old.rpartition("/")[2]
    assert first == again != gone
    before = installation.kept()
    assert len(before) == 2 + 4
    told = installation.maintain()
    assert installation.kept() == before
    goes = [(one["kind"], one["name"]) for one in told.outputs["goes"]]
    [manifest] = [name for kind, name in goes if kind == "scores" and name.endswith(".json")]
    assert set(goes) == {
        ("backfill", backfill),
        ("scores", manifest),
        ("scores", gone.name),
        ("run", installation.name("monitoring", "night-7")),
        ("run", old),
        ("run", installation.name("scoring", "gone")),
        ("run", installation.name("scoring", "first")),
    }
    why = {one["name"]: one["why"] for one in told.outputs["goes"]}
    assert why[manifest] == "older than data.retention.scores 365d"
    assert why[backfill].endswith("(data.retention.backfills)")
    stays = {key: n for key, n in told.outputs["stays"].items() if key[0] in "bs"}
    assert {"backfill: of a run that stays", "scores: named by the result of a run that stays"} <= (
        stays.keys()
    )

    def kill(*_: Any, **__: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(old_runs.shutil, "rmtree", kill)
        with pytest.raises(RuntimeError, match="killed"):
            installation.maintain(apply=True)
    delete = LocalObjectStore.delete
    with monkeypatch.context() as patch:
        patch.setattr(
            LocalObjectStore,
            "delete",
            lambda store, key: kill() if key.endswith(".parquet") else delete(store, key),
        )
        with pytest.raises(RuntimeError, match="killed"):
            installation.maintain(apply=True)
    assert (gone.is_file(), gone.with_name(manifest).is_file()) == (True, False)
    done = installation.maintain(apply=True)
    assert {one["name"] for one in done.outputs["goes"]} >= {gone.name}
    assert installation.kept() == [
        name for name in before if backfill not in name and gone.name not in name
        and manifest not in name
    ]  # fmt: skip
    assert not (installation.backfills / backfill).exists()
    assert installation.maintain(apply=True).outputs["goes"] == []
    # The same work is found where its scores were kept, and done again where they went.
    known = installation.run("batch_score", "scoring", "later", at(7))
    assert "were scored already" in known.text
    assert "were scored already" not in installation.run("batch_score", "scoring", "l", at(6)).text
    assert gone.is_file()


def test_an_unreadable_manifest_keeps_every_file(installation: Installation) -> None:
    gone, first, _ = installation.scores
    for run in (installation.runs / "scoring").iterdir():
        shutil.rmtree(run)
    broken = next(file for file in gone.parent.glob("*.json") if gone.name in file.read_text())
    broken.write_text("{}")
    installation.maintain(apply=True)  # it was written just now, and so is not old
    assert gone.is_file()
    assert first.is_file()
    os.utime(broken, (LONG_AGO, LONG_AGO))
    installation.maintain(apply=True)
    assert not gone.is_file()
    assert not first.is_file()


def test_the_oldest_parts_of_lineage_go_when_asked(installation: Installation) -> None:
    file = events_file(installation.settings.home)
    file.parent.mkdir()
    file.write_text("{}\n")
    parts = [file.with_stem(f"events-20260101T0000{number:02}.000000Z") for number in range(12)]
    for part in parts:
        part.write_text("{}\n")
    told = installation.maintain().outputs["goes"]
    names = {one["name"] for one in told if one["kind"] == "lineage events"}
    assert names == {part.name for part in parts[:2]}
    assert len(list(file.parent.glob("events*"))) == 13
    installation.maintain(apply=True)
    left = sorted(file.parent.glob("events*"))
    assert left == sorted([file, *parts[2:]])
