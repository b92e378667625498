"""Labels of several classes and of numbers are joined, kept and measured as what they are."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ferryman.evaluation.intervals import bootstrap
from ferryman.evaluation.measures import make_measures
from ferryman.monitoring.joined_windows import JoinedWindows
from ferryman.monitoring.labels import join, joined_schema
from ferryman.monitoring.quality import Quality, measure
from ferryman.monitoring.retraining import Champion, Evidence, decide
from ferryman.runtime.score_column import score_field
from ferryman.spec.metrics import Task
from ferryman.spec.monitoring import MonitorSpec, QualitySpec
from ferryman.spec.training import TrainSpec
from ferryman.spec.windows import day_window
from ferryman.training.labels import encode_labels

T0 = datetime(2013, 2, 1, tzinfo=UTC)
DAY = day_window(T0)
TIME = pa.timestamp("us", tz="UTC")
CLASSES = ["red", "green", "blue"]
ROWS = 300


def train_spec(task: str) -> TrainSpec:
    needed = {"framework": "sklearn", "pipeline": "p.py:build", "window": "14d", "holdout": "3d"}
    classes = CLASSES if task == "multiclass" else []
    return TrainSpec.model_validate({**needed, "task": task, "classes": classes})


def predicted(scores: list[Any], task: Task, classes: list[str]) -> pa.Table:
    field = score_field(task, classes)
    rows = len(scores)
    own = {
        "request_id": [f"r{row}" for row in range(rows)],
        "entity_key": [f"k{row}" for row in range(rows)],
        "event_time": pa.array([T0 + timedelta(minutes=row) for row in range(rows)], TIME),
        "logged_at": pa.array([T0] * rows, TIME),
        "version": [1] * rows,
        "epoch": [1] * rows,
    }
    return pa.table(own).append_column(field, pa.array(scores, field.type))


def labelled(label: list[Any], kind: pa.DataType) -> pa.Table:
    rows = len(label)
    return pa.table(
        {
            "entity_key": [f"k{row}" for row in range(rows)],
            "event_time": pa.array([T0] * rows, TIME),
            "label": pa.array(label, kind),
            "known_at": pa.array([T0 + timedelta(days=1)] * rows, TIME),
        }
    )


def class_rows(seed: int = 1) -> tuple[list[list[float]], list[str]]:
    random = np.random.default_rng(seed)
    scores = random.dirichlet([1, 1, 1], ROWS)
    names = [CLASSES[random.choice(3, p=row)] for row in scores]
    return scores.tolist(), names


def measured(table: pa.Table, task: Task, metric: str) -> Quality:
    spec = train_spec(task)
    measures = make_measures(task, spec.classes)

    def interval(labels: Any, scores: Any, name: str) -> tuple[float, float] | None:
        found = bootstrap(measures, labels, scores, metrics=[name], resamples=200, seed=1)[name]
        return (found.low, found.high) if found else None

    return measure(
        table,
        QualitySpec.model_validate({"metric": metric, "min_labels": 100}),
        measures.score,
        interval,
        encode=lambda column: encode_labels(column.to_pandas(), spec),
    )


def joined_classes(classes: list[str] = CLASSES) -> pa.Table:
    scores, names = class_rows()
    label: list[Any] = [*names[:200], None, *names[201:250]]
    table, counts = join(
        labelled(label, pa.string()),
        predicted(scores, "multiclass", classes),
        DAY,
        joined_schema("multiclass", classes),
    )
    assert (counts.predicted, counts.matched, counts.unlabelled) == (ROWS, 249, 1)
    return table


def test_classes_are_joined_and_measured() -> None:
    quality = measured(joined_classes(), "multiclass", "log_loss")
    scores, names = class_rows()
    known = [*range(200), *range(201, 250)]
    expected = -np.mean([np.log(scores[row][CLASSES.index(names[row])]) for row in known])
    assert quality.value == pytest.approx(float(expected), rel=1e-6)
    assert quality.low is not None
    assert quality.low < quality.value < (quality.high or 0)
    assert quality.calibration is None
    assert quality.labelled == 249
    assert quality.as_json()["metrics"]["accuracy"] is not None


def test_kept_classes_come_back_in_the_declared_order(tmp_path: Path) -> None:
    store, table = JoinedWindows(tmp_path), joined_classes()
    store.write("m", DAY, table)

    def read(**what: Any) -> pa.Table:
        return store.read("m", DAY.start, DAY.end, **what)

    turned = read(task="multiclass", classes=["blue", "red", "green"])
    straight = read(task="multiclass", classes=CLASSES)
    assert straight.equals(table)
    assert turned["score"][0].as_py() == [straight["score"][0].as_py()[n] for n in (2, 0, 1)]
    assert read(task="multiclass", classes=["red", "green"]).num_rows == 0
    assert read(task="regression").num_rows == 0
    assert read().num_rows == 0


def test_windows_of_both_declarations_are_read_apart(tmp_path: Path) -> None:
    store = JoinedWindows(tmp_path)
    store.write("m", DAY, joined_classes())
    later = DAY.shifted(timedelta(days=1))
    numbers, _ = join(
        labelled([1.0, 2.0], pa.float64()),
        predicted([1.5, 1.5], "regression", []),
        DAY,
        joined_schema("regression"),
    )
    store.write("m", later, numbers)
    assert store.read("m", DAY.start, later.end, task="regression").equals(numbers)
    found = store.read("m", DAY.start, later.end, task="multiclass", classes=CLASSES)
    assert found.num_rows == ROWS


def test_predictions_of_another_declaration_are_not_joined() -> None:
    table, counts = join(
        labelled(["red", "blue"], pa.string()),
        predicted([None, [0.2, 0.3, 0.5]], "multiclass", CLASSES),
        DAY,
        joined_schema("multiclass", CLASSES),
    )
    assert table["entity_key"].to_pylist() == ["k1"]
    assert (counts.predicted, counts.matched, counts.unmatched) == (1, 1, 1)


def number_rows(shift: float) -> pa.Table:
    random = np.random.default_rng(3)
    scores = random.normal(100, 10, ROWS)
    truth = scores + random.normal(shift, 2, ROWS)
    table, _ = join(
        labelled(truth.tolist(), pa.float64()),
        predicted(scores.tolist(), "regression", []),
        DAY,
        joined_schema("regression"),
    )
    return table


def test_numbers_are_measured_with_the_mean_of_what_is_left() -> None:
    quality = measured(number_rows(3.0), "regression", "rmse")
    assert quality.value == pytest.approx(np.sqrt(9 + 4), rel=0.05)
    assert quality.calibration is not None
    assert quality.calibration.difference == pytest.approx(3.0, abs=0.4)
    assert quality.calibration.shifted
    assert not measured(number_rows(0.0), "regression", "rmse").calibration.shifted  # type: ignore[union-attr]


def test_what_cannot_be_had_is_said() -> None:
    table, _ = join(
        labelled([5.0] * ROWS, pa.float64()),
        predicted([4.0 + row / ROWS for row in range(ROWS)], "regression", []),
        DAY,
        joined_schema("regression"),
    )
    quality = measured(table, "regression", "r2")
    assert quality.value is None
    assert quality.text == "r2 cannot be had from 300 labels that are all 5.0"


@pytest.mark.parametrize(
    ("metric", "value", "gate", "falls"),
    [
        ("rmse", 12.0, 10.0, True),
        ("rmse", 8.0, 10.0, False),
        ("r2", 0.5, 2.0, True),
        ("r2", 0.9, 0.5, False),
        ("calibration_error", 1.5, 0.1, True),
        ("accuracy", 0.9, 0.1, False),
        ("f1_macro", 0.1, 1.3, True),
    ],
)
def test_which_way_is_worse(metric: str, value: float, gate: float, falls: bool) -> None:
    spec = MonitorSpec.model_validate({"quality": {"metric": metric, "tolerance": 1.0}})
    evidence = Evidence(value=value, low=value - 0.1, high=value + 0.1)
    champion = Champion(1, T0 - timedelta(days=9), gate)
    assert (decide(spec, DAY, champion, evidence, []).causes == ["quality"]) is falls


@pytest.mark.parametrize(
    ("metric", "causes"), [("mae", ["calibration"]), ("r2", []), ("log_loss", ["calibration"])]
)
def test_a_shift_counts_in_the_unit_of_its_tolerance(metric: str, causes: list[str]) -> None:
    spec = MonitorSpec.model_validate({"quality": {"metric": metric, "tolerance": 1.0}})
    evidence = Evidence(shift=3.0, shift_low=2.0, shift_high=4.0)
    decision = decide(spec, DAY, Champion(1, T0 - timedelta(days=9), 0.5), evidence, [])
    assert decision.causes == causes
    observed = "mean label" if metric == "mae" else "observed rate"
    assert (f"{observed} minus mean score is +3.0000" in decision.reason) is bool(causes)
