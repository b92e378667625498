"""The gate step on real trainings: every task, declared baselines, slices and behaviour."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from training_line import DAYS, Line

from ferryman.data.versions.dataset import DatasetStore
from ferryman.errors import GateRefused, PolicyRefused
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import State
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.messages import StepResult
from ferryman.spec.loader import load_model
from ferryman.spec.model import DeclaredModel

STEPS = ("train", "evaluate", "package", "register")
PARAMS = "max_iter: 20, learning_rate: 0.2"
SMALL = "max_iter: 30, learning_rate: 0.1, max_leaf_nodes: 4"
LABELS = "SELECT observed_at AS event_time, station, millimetres > 0 AS wet FROM hours"
CLASSES = ["dry", "some", "much"]
REGRESSOR = """

def amount(params: Mapping[str, float | int | str | bool], seed: int) -> Pipeline:
    \"\"\"The same columns, for a number.\"\"\"
    from sklearn.ensemble import HistGradientBoostingRegressor

    trees = HistGradientBoostingRegressor(**params, early_stopping=False, random_state=seed)
    return Pipeline([*build(params, seed).steps[:1], ("trees", trees)])
"""

Declare = Callable[..., None]


@pytest.fixture
def declare(rain: DeclaredModel) -> Declare:
    """A function that replaces parts of rain's declaration; its trees are small at the start."""

    def change(*replaced: tuple[str, str]) -> None:
        text = rain.file.read_text()
        for old, new in replaced:
            assert old in text
            text = text.replace(old, new)
        rain.file.write_text(text)

    change((f"{{{PARAMS}}}", f"{{{SMALL}}}"))
    return change


@pytest.fixture
def hours(rain_hours: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    return rain_hours(DAYS)


MakeLine = Callable[[pd.DataFrame], Line]


def labelled(line: Line, results: dict[str, StepResult], role: str) -> pd.DataFrame:
    """The rows that were trained on, or judged on."""
    store = DatasetStore(LocalObjectStore(line.settings.data_root))
    return store.load(str(results["train"].outputs[f"{role}_dataset"]), "rain")


def comparison(results: dict[str, StepResult]) -> Any:
    return results["gate"].outputs["comparison"]


def test_a_first_model_is_judged_against_what_the_training_labels_say(
    hours: pd.DataFrame, make_line: MakeLine, declare: Declare
) -> None:
    line = make_line(hours)
    results = line.run(*STEPS, "gate")
    evidence = comparison(results)
    trained = results["train"].outputs
    assert (evidence["against"], evidence["finding"]) == ("baseline", "better")
    assert evidence["champion"] is None
    assert evidence["eval_dataset"] == trained["eval_dataset"]
    assert evidence["train_dataset"] == trained["train_dataset"]
    rate = float(labelled(line, results, "train")["label"].mean())
    assert evidence["baseline"]["answer"] == pytest.approx(rate)
    assert evidence["baseline"]["metrics"]["log_loss"] > evidence["candidate"]["log_loss"]
    assert evidence["difference"]["metric"] == "log_loss"
    assert evidence["candidate"] == pytest.approx(
        {name: results["evaluate"].metrics[name] for name in evidence["candidate"]}, abs=1e-5
    )
    (verdict,) = [
        op for op in Ledger(line.settings.ledger_url).history("rain") if op.state is State.GATED
    ]
    assert json.loads(json.dumps(verdict.evidence)) == json.loads(json.dumps(evidence))


@pytest.mark.parametrize(("iterations", "passes"), [(1, True), (30, False)])
def test_a_declared_pipeline_is_fitted_on_the_same_rows_and_must_be_beaten(
    hours: pd.DataFrame, make_line: MakeLine, declare: Declare, iterations: int, passes: bool
) -> None:
    params = f"{{{SMALL.replace('30', str(iterations))}}}"
    baseline = f"baseline: {{kind: pipeline, pipeline: pipeline.py:build, params: {params}}}"
    declare(("gates:\n", f"gates:\n  {baseline}\n"))
    line = make_line(hours)
    if passes:
        evidence = comparison(line.run(*STEPS, "gate"))
        assert evidence["rival"] == "baseline pipeline.py:build"
        assert evidence["baseline"]["params"] == {
            "max_iter": 1,
            "learning_rate": 0.1,
            "max_leaf_nodes": 4,
        }
        assert evidence["baseline"]["answer"] is None
        return
    with pytest.raises(GateRefused, match=r"no better than the baseline pipeline\.py:build"):
        line.run(*STEPS, "gate")


def test_classes_are_evaluated_and_judged(
    hours: pd.DataFrame, make_line: MakeLine, declare: Declare, rain: DeclaredModel
) -> None:
    as_classes(declare, rain)
    line = make_line(hours)
    results = line.run(*STEPS, "gate")
    table = pq.read_table(str(results["evaluate"].outputs["predictions"]))
    scores = np.array(table["score"].to_pylist())
    assert scores.shape == (7 * 96, 3)
    assert np.abs(scores.sum(axis=1) - 1).max() < 1e-9
    assert set(table["label"].to_pylist()) == set(CLASSES)
    matrix = json.loads(Path(results["evaluate"].artifacts["confusion_matrix.json"]).read_bytes())
    assert matrix["names"] == CLASSES
    answers = scores.argmax(axis=1)
    truth = np.array([CLASSES.index(name) for name in table["label"].to_pylist()])
    for was, answered in np.ndindex(3, 3):
        count = int(((truth == was) & (answers == answered)).sum())
        assert matrix["counts"][was][answered] == count
    assert "accuracy" in results["evaluate"].text
    evidence = comparison(results)
    counts = labelled(line, results, "train")["label"].value_counts(normalize=True)
    assert evidence["baseline"]["answer"] == pytest.approx([counts[name] for name in CLASSES])
    # A declaration whose classes have another order is another question.
    declare((json.dumps(CLASSES), json.dumps(CLASSES[::-1])))
    changed = Line(line.settings, load_model(rain.folder))
    given = results["gate"].outputs["candidate"]
    with pytest.raises(PolicyRefused, match="has another task or other classes"):
        changed.run("gate", run_id="r9", candidate={**given, "sequence": 9})  # type: ignore[dict-item]


def as_classes(declare: Declare, rain: DeclaredModel) -> None:
    declare(
        ("task: binary", f"task: multiclass\n  classes: {json.dumps(CLASSES)}"),
        ("roc_auc: {min: 0.6}", "accuracy: {min: 0.4}\n    brier: {max: 0.9}"),
    )
    amount = "CASE WHEN millimetres = 0 THEN 'dry' WHEN millimetres < 2 THEN 'some' ELSE 'much' END"
    labels = rain.folder / "labels.sql"
    labels.write_text(labels.read_text().replace("millimetres > 0", amount))


def release(line: Line, results: dict[str, StepResult]) -> None:
    """Make the candidate champion, without a server."""
    ledger, outputs = Ledger(line.settings.ledger_url), results["gate"].outputs
    op_id, base = str(outputs["op_id"]), int(str(outputs["base_epoch"]))
    ledger.advance(op_id, State.STAGED, {}, base_epoch=base)
    ledger.commit(op_id, base)
    for state in (State.PROJECTED, State.DONE):
        ledger.advance(op_id, state, {})


def test_a_champion_of_other_classes_or_another_task(
    hours: pd.DataFrame, make_line: MakeLine, declare: Declare, rain: DeclaredModel
) -> None:
    as_classes(declare, rain)
    line = make_line(hours)
    first = line.run(*STEPS, "gate")
    release(line, first)
    # The same classes in another order: the champion's answers are brought into that order.
    declare((json.dumps(CLASSES), json.dumps(CLASSES[::-1])))
    line = Line(line.settings, load_model(rain.folder))
    with pytest.raises(GateRefused):
        line.run(*STEPS, "gate", run_id="r2")
    evidence = Ledger(line.settings.ledger_url).history("rain")[-1].evidence
    assert (evidence["against"], evidence["champion"]["epoch"]) == ("champion", 1)
    assert evidence["champion"]["digest"] == first["register"].outputs["digest"]
    assert evidence["champion"]["metrics"] == pytest.approx(comparison(first)["candidate"])
    # Another question altogether: the candidate is a first model again.
    declare(
        (f"task: multiclass\n  classes: {json.dumps(CLASSES[::-1])}", "task: binary"),
        ("accuracy: {min: 0.4}\n    brier: {max: 0.9}", "roc_auc: {min: 0.6}"),
    )
    (rain.folder / "labels.sql").write_text(LABELS)
    line = Line(line.settings, load_model(rain.folder))
    line.publish("i2")
    results = line.run(*STEPS, "gate", run_id="r3")
    evidence = comparison(results)
    assert evidence["against"] == "baseline"
    assert evidence["remark"] in results["gate"].text
    assert "version 1 answers another question (multiclass, 3 classes)" in evidence["remark"]
    assert evidence["champion"]["metrics"] is None


def test_numbers_are_evaluated_and_judged(
    hours: pd.DataFrame, make_line: MakeLine, declare: Declare, rain: DeclaredModel
) -> None:
    declare(
        ("task: binary", "task: regression"),
        ("pipeline.py:build", "pipeline.py:amount"),
        ("roc_auc: {min: 0.6}", "rmse: {max: 5}"),
        ("  resamples: 300", "  resamples: 300\n  champion: {metric: rmse}"),
        ("schedule:", "monitor: {quality: {metric: rmse}}\nschedule:"),
    )
    labels = rain.folder / "labels.sql"
    labels.write_text(labels.read_text().replace("millimetres > 0", "millimetres"))
    with (rain.folder / "pipeline.py").open("a") as file:
        file.write(REGRESSOR)
    line = make_line(hours)
    results = line.run(*STEPS, "gate")
    evaluated = results["evaluate"]
    assert "confusion" not in evaluated.outputs
    assert set(evaluated.artifacts) == {"predictions"}
    table = pq.read_table(str(evaluated.outputs["predictions"]))
    truth, scores = (table[name].to_numpy() for name in ("label", "score"))
    assert evaluated.metrics["rmse"] == pytest.approx(np.sqrt(((truth - scores) ** 2).mean()))
    assert evaluated.metrics["mape_left_out"] == (truth == 0).sum() > 0
    assert evaluated.text.startswith("evaluated 672 rows: rmse ")
    evidence = comparison(results)
    mean = labelled(line, results, "train")["label"].mean()
    assert evidence["baseline"]["answer"] == pytest.approx(mean)
    assert evidence["difference"]["metric"] == "rmse"


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ("behaviour: [{kind: example, name: desert, row: {humidity: 0}, min: 0.9}]", "desert"),
        ("slices: [{metric: roc_auc, min: 0.99}]", "station"),
    ],
)
def test_slices_and_behaviour_can_stop_a_candidate(
    hours: pd.DataFrame, make_line: MakeLine, declare: Declare, declared: str, text: str
) -> None:
    slices = "evaluation: {slices: [{column: station}], "
    declare(("gates:\n", f"gates:\n  {declared}\n"), ("evaluation: {", slices))
    with pytest.raises(GateRefused, match=text):
        make_line(hours).run(*STEPS, "gate")


def test_the_training_data_of_the_baseline_is_the_registered_one(
    hours: pd.DataFrame, make_line: MakeLine, declare: Declare
) -> None:
    line = make_line(hours)
    results = line.run(*STEPS, "gate")
    given: Any = results["gate"].outputs["candidate"]
    for other in ("", given["eval_dataset"]):
        with pytest.raises(PolicyRefused, match="was registered with train_dataset"):
            line.run("gate", run_id="r2", candidate={**given, "train_dataset": other})
