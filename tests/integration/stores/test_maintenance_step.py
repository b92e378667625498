"""The step `maintenance` on a real registry, ledger, run store and disk."""

import os
import re
import shutil
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kept_data import write
from services.command import Command

from ferryman.data.versions.dataset_version import DatasetVersion, manifest_key
from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.errors import DependencyUnavailable
from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import Candidate, State
from ferryman.registry.mlflow_connection import connect
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.runtime.files import SCRATCH, json_bytes, write_json
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.messages import StepResult
from ferryman.runtime.run_store import run_folder
from ferryman.settings import Settings, load_settings
from ferryman.spec.windows import day_window
from ferryman.steps.journey import Journey

if TYPE_CHECKING:
    from ferryman.spec.model import DeclaredModel

_MOMENT = re.compile(r'"(at|created_at)": "([^"]+)"')


class Home:
    """An installation of `rain` whose data was written long ago."""

    def __init__(self, folder: Path, model: "DeclaredModel") -> None:
        self.settings = Settings(
            root=folder, home=folder / "home", zoo=model.folder.parent, code_version="test"
        )
        self.model = model
        self.data = self.settings.data_root
        self.objects = LocalObjectStore(self.data)
        self.store = SnapshotStore(self.objects)

    def dataset(self, *snapshots: str) -> str:
        """A dataset version."""
        start = datetime(2024, 1, 1, tzinfo=UTC)
        version = DatasetVersion(
            model="rain", role="eval", cutoff=start, event_window=day_window(start), label="wet",
            columns=[], snapshot_ids=list(snapshots), label_snapshot_ids=[], rows=1,
        )  # fmt: skip
        made = version.model_copy(update={"id": version.content_digest()})
        content = json_bytes(made.model_dump(mode="json"))
        self.objects.create(manifest_key("rain", made.id), content)
        return made.id

    def run_folder(self, name: str, pipeline: str = "ingest") -> Path:
        """A finished run."""
        folder = self.settings.runs_root / "rain" / pipeline / name
        (folder / pipeline).mkdir(parents=True)
        (folder / pipeline / "result.json").write_text("{}")
        return folder

    def age(self, days: int) -> None:
        """Let everything be as if it had been written some days earlier."""
        back = timedelta(days=days)

        def earlier(found: re.Match[str]) -> str:
            moment = datetime.fromisoformat(found[2]) - back
            return f'"{found[1]}": "{moment.isoformat()}"'

        for note in list(self.data.rglob("used/*/*.json")):
            day = datetime.strptime(note.stem, "%Y%m%d").replace(tzinfo=UTC) - back
            note.rename(note.with_name(f"{day:%Y%m%d}.json"))
        for file in self.data.rglob("*.json"):
            file.write_text(_MOMENT.sub(earlier, file.read_text()))
        then = time.time() - back.total_seconds()
        for path in [*self.data.rglob("*"), *self.settings.runs_root.rglob("*")]:
            os.utime(path, (then, then))

    def files(self) -> set[str]:
        """All that is kept, hidden files too."""
        return {str(path.relative_to(self.data)) for path in self.data.rglob("*")}

    def maintain(self, **params: Any) -> Any:
        """Run the step; its result."""
        (result,) = Journey(self.settings, self.model).run("maintenance", params=params)
        return result


@pytest.fixture
def home(
    tmp_path: Path, rain: "DeclaredModel", empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch
) -> Home:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    made = Home(tmp_path, rain)
    shutil.copytree(empty_mlflow, made.settings.home / "mlflow")
    return made


def trained_run(home: Home) -> Path:
    """The folder of the run that trained the registered version."""
    return run_folder(home.settings.runs_root, "rain", "training", "the training")


def fill(home: Home) -> dict[str, str]:
    """Three versions of a day: one that a registered model needs, one for nobody, the current."""
    names = {
        who: write(home.objects, seed=seed, model="rain").id
        for seed, who in enumerate(("needed", "nobody", "current"))
    }
    names["dataset"] = home.dataset(names["needed"])
    names["stale dataset"] = home.dataset(names["current"])
    home.run_folder("old-1")
    home.run_folder("old-2")
    home.run_folder("forgotten", "training")
    home.run_folder(trained_run(home).name, "training")
    home.age(200)
    home.run_folder("new")
    home.run_folder("new", "training")
    (home.data / "rain" / "snapshots" / ".entry.json.abcdef12").write_bytes(b"half")
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH))
    for path in (home.data / "rain" / "snapshots" / ".entry.json.abcdef12", scratch):
        os.utime(path, (1, 1))
    names["scratch"] = str(scratch)
    return names


def register(home: Home, dataset: str) -> None:
    registry = MlflowRegistry(home.settings.mlflow_uri, home.settings.mlflow_artifacts)
    bundle = home.settings.bundles_root / "rain"
    bundle.mkdir(parents=True)
    tags = {"ferryman.eval_dataset": dataset, "ferryman.run_id": "the training"}
    registry.register("rain", "key", "0" * 64, str(bundle), tags)


def test_a_dry_run_tells_and_apply_removes(home: Home) -> None:
    names = fill(home)
    register(home, names["dataset"])
    before = home.files()
    told = home.maintain()
    assert home.files() == before
    assert told.text.startswith("would remove 1 dataset(s), 3 run(s), 1 snapshot(s), 2 temporary")
    goes = {item["name"]: item["why"] for item in told.outputs["goes"]}
    assert set(goes) == {
        names["nobody"],
        names["stale dataset"],
        "ingest/old-1",
        "ingest/old-2",
        "training/forgotten",
        "rain/snapshots/.entry.json.abcdef12",
        names["scratch"],
    }
    assert told.outputs["stays"] == {
        "dataset: of a registered model": 1,
        "snapshot: current of its window": 1,
        "snapshot: needed by dataset": 1,
    }
    done = home.maintain(apply=True)
    assert done.text.startswith("removed 1 dataset(s), 3 run(s), 1 snapshot(s), 2 temporary file")
    assert home.store.snapshot_ids("rain") == sorted([names["needed"], names["current"]])
    assert home.store.read_features(home.store.get("rain", names["needed"])).num_rows == 100
    assert not any(names["nobody"] in name or name.endswith("12") for name in home.files())
    assert not Path(names["scratch"]).exists()
    runs = home.settings.runs_root / "rain" / "ingest"
    assert [folder.name for folder in runs.iterdir()] == ["new"]
    assert trained_run(home).is_dir(), "the lineage of a registered version needs it"
    assert home.maintain(apply=True).outputs["goes"] == []


def test_what_is_served_keeps_its_training_though_somebody_deleted_its_version(home: Home) -> None:
    names = fill(home)
    register(home, names["dataset"])
    registry = MlflowRegistry(home.settings.mlflow_uri, home.settings.mlflow_artifacts)
    bundle = str(home.settings.bundles_root / "rain" / "1")
    registry.register("rain", "another", "2" * 64, bundle, {})
    candidate = Candidate(
        version=1, digest="0" * 64, bundle=bundle, cutoff="2024-01-01T00:00:00Z", sequence=1,
        run_key="key", eval_dataset=names["dataset"],
    )  # fmt: skip
    ledger = Ledger(home.settings.ledger_url)
    op = ledger.open_op(PROMOTE, "rain", candidate, "test", "test")
    for state, base in ((State.REGISTERED, 0), (State.GATED, 0), (State.STAGED, 0)):
        ledger.advance(op.op_id, state, {}, base_epoch=base)
    ledger.commit(op.op_id, 0)
    result = StepResult(
        model="rain", step="register", request_digest="", outputs={"digest": "0" * 64}
    )
    write_json(trained_run(home) / "register" / "result.json", result.model_dump(mode="json"))
    home.age(200)
    os.utime(home.settings.runs_root / "rain" / "training" / "new")  # which is the newest, then
    connect(home.settings.mlflow_uri).delete_model_version("rain", "1")
    done = home.maintain(apply=True)
    assert trained_run(home).is_dir()
    assert [item["name"] for item in done.outputs["goes"] if item["name"].startswith("train")] == [
        "training/forgotten"
    ]
    assert "version 1 (serving) is gone in MLflow" in done.text
    assert len(done.outputs["found"]) == 2, "its bundle was never there, either"


@pytest.mark.parametrize("away", ["registry", "ledger", "registry lost"])
def test_nothing_is_removed_where_registry_or_ledger_cannot_be_asked(home: Home, away: str) -> None:
    fill(home)
    before = home.files()
    if away == "registry":
        changes: dict[str, Any] = {"mlflow_uri": "http://127.0.0.1:1"}
    elif away == "ledger":
        changes = {"ledger_url": "postgresql+psycopg://nobody@127.0.0.1:1/ledger"}
    else:
        changes = {}
        bundle = str(home.settings.bundles_root / "rain" / "0")
        candidate = Candidate(
            version=1, digest="0" * 64, bundle=bundle, cutoff="2024-01-01T00:00:00Z", sequence=1,
            run_key="key", eval_dataset="e" * 64,
        )  # fmt: skip
        Ledger(home.settings.ledger_url).open_op(PROMOTE, "rain", candidate, "test", "test")
    home.settings = home.settings.model_copy(update=changes)
    with pytest.raises(DependencyUnavailable):
        home.maintain(apply=True)
    assert home.files() == before


def test_the_declaration_decides_where_nobody_says(home: Home) -> None:
    names = fill(home)
    spec = home.model.spec
    retention = spec.data.retention.model_copy(update={"apply": True})
    data = spec.data.model_copy(update={"retention": retention})
    home.model = home.model.model_copy(update={"spec": spec.model_copy(update={"data": data})})
    assert home.maintain(apply=False).outputs["applied"] is False
    assert names["nobody"] in home.store.snapshot_ids("rain")
    assert home.maintain().outputs["applied"] is True
    assert home.store.snapshot_ids("rain") == [names["current"]]


def test_the_command_prints_what_would_go_and_why(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = fill(home)
    settings = home.settings
    variables = {
        "FERRYMAN_HOME": str(settings.home),
        "FERRYMAN_ZOO": str(settings.zoo),
        "COLUMNS": "200",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    said = Command(capsys, monkeypatch)("maintenance", "--model", "rain")
    load_settings.cache_clear()
    (line,) = [text for text in said.splitlines() if names["nobody"][:60] in text]
    assert "window 2013-02-05: superseded since 20" in line
    assert "stays: 1 x snapshot: current of its window" in said
    assert "nothing was removed (param apply: true does it)" in said
    assert names["nobody"] in home.store.snapshot_ids("rain")
