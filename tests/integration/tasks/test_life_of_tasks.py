"""A model of several classes and one of a number: from source rows to a judged live quality."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from ferryman.data.versions.dataset_catalogue import DatasetCatalogue
from ferryman.errors import DataRejected
from ferryman.runtime.data_store import open_data_store
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.runtime.endpoints import main_endpoint
from ferryman.runtime.messages import StepResult
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings
from ferryman.spec.loader import load_model
from ferryman.spec.windows import Window
from ferryman.steps.journey import Journey

START = datetime(2024, 1, 1, tzinfo=UTC)
CUTOFF = 14
Live = Callable[[str], dict[str, StepResult]]


def days(first: int, count: int = 1) -> Window:
    start = START + timedelta(days=first - 1)
    return Window(start=start, end=start + timedelta(days=count))


@pytest.fixture(scope="session")
def lived(installation: Settings) -> Live:
    """A function (model) -> the results of all its steps, which are run once."""
    lives: dict[str, dict[str, StepResult]] = {}

    def live(name: str) -> dict[str, StepResult]:
        if name not in lives:
            lives[name] = _live(Journey(installation, load_model(installation.zoo / name)))
        return lives[name]

    return live


def _live(journey: Journey) -> dict[str, StepResult]:
    found: dict[str, StepResult] = {}

    def run(what: str, **more: Any) -> None:
        for result in journey.run(what, **more):
            found[result.step] = result

    run("ingest", window=days(1, 18))
    run("training", params={"cutoff": (START + timedelta(days=CUTOFF)).isoformat()})
    run("release")
    for day in (15, 16, 17, 18):
        run("monitoring", window=days(day))
    return found


@pytest.mark.parametrize("name", ["cups", "price"])
def test_a_model_lives_its_whole_life(lived: Live, name: str) -> None:
    found = lived(name)
    assert found["gate"].verdict == "passed"
    assert found["reconcile"].outputs["epoch"] == 1
    assert found["score"].outputs == {"sent": 96, "already": 0}
    assert int(str(found["join_labels"].outputs["matched"])) > 80
    quality: Any = found["monitor"].outputs["quality"]
    assert quality["labelled"] > 150
    assert quality["value"] is not None
    assert quality["low"] < quality["value"] < quality["high"]
    gate: Any = found["monitor"].outputs["champion"]
    assert gate["gate_value"] == pytest.approx(quality["value"], rel=0.25)
    assert found["decide_retrain"].outputs["retrain"] is False


def test_classes_are_answered_in_their_order(lived: Live, installation: Settings) -> None:
    lived("cups")
    row = {"machine": "ada", "heat": None}
    with ServingClient(main_endpoint(installation)) as client:
        small, large = client.predict("cups", [{**row, "grams": 5}, {**row, "grams": 25}]).scores
        with pytest.raises(DataRejected, match="row 0, field grams: must not be null"):
            client.predict("cups", [{**row, "grams": None}])
    assert [len(small), len(large)] == [3, 3]
    assert small.index(max(small)) == 0
    assert large.index(max(large)) == 2
    about = httpx.get(f"{installation.serving_url}/v2/models/cups", trust_env=False).json()
    assert about["classes"] == ["small", "medium", "large"]
    assert about["outputs"][0]["shape"] == [-1, 3]


def test_numbers_are_answered_in_the_unit_of_the_label(lived: Live, installation: Settings) -> None:
    found = lived("price")
    with ServingClient(main_endpoint(installation)) as client:
        answer = client.predict("price", [{"street": "oak", "metres": 100.0, "rooms": 4}])
    assert answer.scores[0] == pytest.approx(350, abs=40)
    quality: Any = found["monitor"].outputs["quality"]
    assert 13 < quality["value"] < 25
    assert abs(quality["calibration"]["difference"]) < 5


@pytest.mark.parametrize(
    ("name", "words"), [("cups", r"medium \d.*, large \d.*|medium \d.*, small"), ("price", "±")]
)
def test_the_dataset_says_how_its_labels_are(
    lived: Live, installation: Settings, name: str, words: str
) -> None:
    dataset = str(lived(name)["train"].outputs["train_dataset"])
    store = open_data_store(installation, DeclaredConnections(installation))
    entry = DatasetCatalogue(store).entry(name, dataset)
    assert entry is not None
    import re

    assert re.search(words, entry.label_words)
