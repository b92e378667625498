"""The step `maintenance` and the prediction log: what it says, removes, merges and brings away."""

import re
import shutil
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from label_posts import post
from logged_entries import append, write_entry
from logged_requests import DAY, NEXT, answered, files
from pydantic import SecretStr
from services import s3_server
from services.s3_server import KEY, SECRET, S3Server

from ferryman.errors import PolicyRefused, SpecError
from ferryman.monitoring.joined_windows import JoinedWindows
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.runtime.prediction_places import prediction_places
from ferryman.serving.labels.label_reading import read_posted
from ferryman.serving.log.journal import Journal
from ferryman.serving.log.prediction_log import read_predictions
from ferryman.serving.models.onnx_model import Identity, OnnxModel
from ferryman.settings import Settings
from ferryman.spec.loader import load_model
from ferryman.spec.windows import day_window
from ferryman.steps.journey import Journey
from ferryman.steps.log_care import is_monitored, label_time

if TYPE_CHECKING:
    from ferryman.spec.model import DeclaredModel


class Home:
    """An installation of `rain` whose predictions were logged on some days."""

    def __init__(self, folder: Path, declared: "DeclaredModel", model: OnnxModel) -> None:
        self.settings = Settings(
            root=folder, home=folder / "home", zoo=declared.folder.parent, code_version="test"
        )
        self.declared = declared
        self.model = model

    @property
    def root(self) -> Path:
        """The folder of the log."""
        return self.settings.predictions_root

    def monitor(self) -> None:
        """Declare that nights look at the model."""
        file = self.declared.file
        file.write_text(file.read_text() + "monitor: {quality: {matures: 30d}}\n")
        self.declared = load_model(self.declared.folder)

    def log(self, request: str, days_ago: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file of one request, as a server wrote it some days ago."""
        logged = time.time() - days_ago * 86_400 - 7_200
        with monkeypatch.context() as patch:
            patch.setattr(time, "time_ns", lambda: int(logged * 1e9))
            name = Journal(self.root, request).name
        write_entry(self.root, name, answered(self.model, request)._replace(at=logged))

    def maintain(self, **params: Any) -> Any:
        """Run the step; its result."""
        (result,) = Journey(self.settings, self.declared).run("maintenance", params=params)
        return result

    def requests(self, *stores: Any) -> list[str]:
        """Which requests the log holds."""
        table = read_predictions(stores or self.root, "rain", DAY, NEXT)
        return sorted(table["request_id"].to_pylist())


@pytest.fixture
def home(
    tmp_path: Path,
    rain: "DeclaredModel",
    empty_mlflow: Path,
    make_bundle: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Home:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    bundle = make_bundle(tmp_path / "bundles")
    model = OnnxModel(bundle.folder, Identity("rain", 1, 1, bundle.digest))
    made = Home(tmp_path, rain, model)
    shutil.copytree(empty_mlflow, made.settings.home / "mlflow")
    return made


def test_what_is_beyond_its_time_is_told_and_goes_when_asked(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for request, days in {"old": 95, "older": 200, "kept": 85, "new": 0}.items():
        home.log(request, days, monkeypatch)
    told = home.maintain()
    (item,) = told.outputs["goes"]
    assert (item["kind"], item["name"]) == ("day of predictions", "rain/date=2013-01-01")
    limit = datetime.now(UTC) - timedelta(days=90)
    assert item["why"].startswith(f"logged before {limit:%Y-%m-%d}")
    assert item["why"].endswith("(serving.log.keep)") and item["bytes"] > 2000
    assert home.requests() == ["kept", "new", "old", "older"]
    assert "1 day of predictions(s)" in home.maintain(apply=True).text
    assert home.requests() == ["kept", "new"]
    assert home.maintain(apply=True).outputs["goes"] == []


def test_files_of_a_finished_day_are_merged_and_the_killed_recovered(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        home.log(f"r{number}", 3, monkeypatch)
    killed = Journal(home.root, "killed")
    append(killed, answered(home.model, "journaled"))
    (journal,) = (home.root / ".journals").iterdir()
    shutil.copy(journal, journal.with_name(f"{time.time_ns()}-of-the-dead-1.journal"))
    result = home.maintain()
    assert result.metrics["merged"] == 4
    assert home.requests() == ["journaled", "r0", "r1", "r2", "r3"]
    assert [file.name for file in (home.root / ".journals").iterdir()] == [journal.name]
    killed.close()


def test_what_no_server_brings_to_the_bucket_is_brought(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        home.log(f"r{number}", 3, monkeypatch)
    places = {"out": f"file://{tmp_path}/elsewhere"}
    home.settings = home.settings.model_copy(
        update={
            "predictions_connection": "out",
            "connection_urls": Settings(home=tmp_path, connection_urls=places).connection_urls,
        }
    )
    assert home.maintain().metrics["merged"] == 3
    assert files(home.root) == []
    elsewhere = tmp_path / "elsewhere"
    assert len(files(elsewhere)) == 1
    assert read_predictions(elsewhere, "rain", DAY, NEXT).num_rows == 3


def test_a_place_that_cannot_be_asked_stops_it_before_anything_goes(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.log("old", 95, monkeypatch)
    home.settings = home.settings.model_copy(update={"predictions_connection": "nowhere"})
    with pytest.raises(SpecError, match="no connection 'nowhere'"):
        home.maintain(apply=True)
    assert home.requests() == ["old"]


def test_posted_labels_are_merged_and_go_when_they_were_joined_and_matured(home: Home) -> None:
    home.monitor()
    came = datetime.now(UTC).replace(hour=8) - timedelta(days=100)
    for days, keys in ((0, "ab"), (40, "cd"), (99, "e")):
        for key in keys:
            post(home.root, "rain", key, True, came + timedelta(days=days))
    folders = home.root / "rain" / "labels"

    def count() -> list[int]:
        return [len(list(folder.iterdir())) for folder in sorted(folders.iterdir())]

    assert count() == [2, 2, 1]
    told = home.maintain(apply=True)
    assert told.metrics["merged"] == 4
    assert count() == [1, 1, 1]
    assert told.outputs["goes"] == []
    assert told.outputs["stays"] == {"day of labels: no night has joined all of it": 1}
    joined, day = JoinedWindows(home.settings.monitoring_root), day_window(came)
    joined.write_inputs("rain", day, {"files": 1})  # a night, before a dead machine's label came
    assert home.maintain(apply=True).outputs["goes"] == []
    joined.write_inputs("rain", day, {"files": 2})
    [item] = home.maintain().outputs["goes"]
    assert (item["kind"], item["name"]) == (
        "day of labels",
        f"rain/labels/received={came:%Y-%m-%d}",
    )
    assert item["why"].endswith("(kept for 90d)")
    assert count() == [1, 1, 1]
    assert "removed 1 day of labels(s)" in home.maintain(apply=True).text
    assert [sum(1 for _ in folder.iterdir()) for folder in sorted(folders.iterdir())][-2:] == [1, 1]
    assert home.maintain(apply=True).outputs["goes"] == []


def test_only_what_is_declared_makes_labels_wait_for_nights(rain: "DeclaredModel") -> None:
    text = rain.file.read_text()
    assert not is_monitored(rain.spec)
    other = text.replace("task: binary", "task: regression")
    assert other != text
    other = re.sub(r"(?m)^gates:.*\n(?: .*\n)*", "gates: {thresholds: {rmse: {max: 3}}}\n", other)
    for said, is_declared in (
        ("", False),
        ("monitor: {quality: {metric: mae}}\n", True),
        ("monitor: {drift: {window: 2d}}\n", True),
    ):
        rain.file.write_text(other + said)
        assert is_monitored(load_model(rain.folder).spec) is is_declared, said


def test_labels_stay_as_long_as_anybody_asks_for_them(rain: "DeclaredModel") -> None:
    spec = rain.spec
    data, log = spec.data, spec.serving.log

    def time_of(posted: bool = False, keep: int = 90, labels: int | None = None) -> Any:
        given = data.model_copy(
            update={
                "label": data.label.model_copy(update={"posted": posted}),
                "retention": data.retention.model_copy(
                    update={"labels": None if labels is None else timedelta(days=labels)}
                ),
            }
        )
        kept = log.model_copy(update={"keep": timedelta(days=keep)})
        serving = spec.serving.model_copy(update={"log": kept})
        return label_time(spec.model_copy(update={"data": given, "serving": serving}))

    assert time_of() == timedelta(days=90)
    assert time_of(keep=3) == timedelta(days=32)  # nights join them for 30 days, and the last one
    assert time_of(posted=True) is None
    assert time_of(posted=True, labels=400) == timedelta(days=400)
    assert time_of(labels=1) == timedelta(days=32)


def test_labels_of_a_model_that_nobody_monitors_go_by_their_age(home: Home) -> None:
    now = datetime.now(UTC).replace(hour=8)
    for days, key in ((100, "a"), (100, "b"), (80, "c")):
        post(home.root, "rain", key, True, now - timedelta(days=days))
    folders = home.root / "rain" / "labels"
    old = f"received={now - timedelta(days=100):%Y-%m-%d}"
    [item] = home.maintain().outputs["goes"]
    assert (item["kind"], item["name"]) == ("day of labels", f"rain/labels/{old}")
    assert item["why"].endswith("(kept for 90d)")
    assert (folders / old).is_dir()
    assert "removed 1 day of labels(s)" in home.maintain(apply=True).text
    assert not list((folders / old).glob("*.parquet"))
    assert len(list(folders.glob("*/*.parquet"))) == 1
    assert home.maintain(apply=True).outputs["goes"] == []


def test_labels_that_no_server_brings_are_kept_and_removed_in_a_bucket(
    home: Home, s3: S3Server
) -> None:
    home.monitor()
    s3.connection("lake/log")
    where = f"s3://{KEY}:{SECRET}@lake/log?endpoint={s3.url}&region=us-east-1"
    home.settings = home.settings.model_copy(
        update={"predictions_connection": "out", "connection_urls": {"out": SecretStr(where)}}
    )
    places = prediction_places(home.settings, DeclaredConnections(home.settings))
    came = datetime.now(UTC).replace(hour=8) - timedelta(days=100)
    day = day_window(came)
    for key in "ab":
        post(home.root, "rain", key, True, came)

    def known() -> list[str]:
        rows, _ = read_posted(places, "rain", day, "binary")
        return sorted(rows["entity_key"].to_pylist())

    s3.methods, s3.faults = ("PUT",), [s3_server.fine, s3_server.refused]
    with pytest.raises(PolicyRefused):
        home.maintain(apply=True)
    assert known() == ["a", "b"]  # one here, one there
    assert home.maintain(apply=True).metrics["merged"] == 2
    assert not list(home.root.glob("rain/labels/*/*"))
    assert len(places[1].keys("rain/labels")) == 1
    assert known() == ["a", "b"]
    JoinedWindows(home.settings.monitoring_root).write_inputs("rain", day, {"files": 2})
    [item] = home.maintain().outputs["goes"]
    assert (item["kind"], known()) == ("day of labels", ["a", "b"])
    home.maintain(apply=True)
    assert places[1].keys("rain/labels") == known() == []
