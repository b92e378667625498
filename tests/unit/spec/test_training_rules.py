"""The rules of train, search, evaluation and gates: each broken one is told with its line."""

import re
import shutil
from pathlib import Path

import pytest

from ferryman.spec.loader import load_model
from ferryman.spec.metrics import LOWER_IS_BETTER, METRICS_OF
from ferryman.spec.yaml_file import DeclarationError

TINY = Path(__file__).parents[2] / "zoo" / "tiny"
MULTICLASS = "task: multiclass\n  classes: [dry, wet]"
SEARCH = "search:\n  method: {method}\n  space:\n    c: {space}\n{more}train:"


def search(method: str = "random", space: str = "{min: 0, max: 1}", more: str = "") -> str:
    return SEARCH.format(method=method, space=space, more=more)


BROKEN = {
    "classes missing": ("task: binary", "task: multiclass", "needs classes"),
    "classes of a number": ("task: binary", "task: regression\n  classes: [a, b]", "not for regr"),
    "class twice": ("task: binary", "task: multiclass\n  classes: [a, a]", "stands twice"),
    "workers of sklearn": ("task: binary", "task: binary\n  workers: 2", "for framework keras"),
    "a metric of another task": (
        "task: binary",
        "task: regression",
        "gates.thresholds: 'log_loss' is no metric of a regression task; there are mae, rmse",
    ),
    "a champion's metric of another task": (
        "    log_loss: {max: 0.9}",
        "    log_loss: {max: 0.9}\n  champion: {metric: rmse}",
        "gates.champion.metric: 'rmse' is no metric of a binary task",
    ),
    "keras and words": (
        "framework: sklearn",
        "framework: keras",
        "features.columns.station: framework keras takes numbers only; encode it in features.sql",
    ),
    "no worse by nothing": (
        "    log_loss: {max: 0.9}",
        "    log_loss: {max: 0.9}\n  champion: {require: no_worse}",
        "no_worse needs a margin above 0",
    ),
    "baseline without a file": (
        "    log_loss: {max: 0.9}",
        "    log_loss: {max: 0.9}\n  baseline: {kind: pipeline, pipeline: 'pipelines.py:build'}",
        "gates.baseline.pipeline: no file 'pipelines.py'",
    ),
    "baseline of two kinds": (
        "    log_loss: {max: 0.9}",
        "    log_loss: {max: 0.9}\n  baseline: {pipeline: 'pipeline.py:build'}",
        "belongs to kind pipeline",
    ),
    "slice of no column": (
        "evaluation: {",
        "evaluation: {slices: [{column: statoin}], ",
        "evaluation.slices.column: 'statoin' is not a feature; did you mean 'station'?",
    ),
    "slice gate without a bound": (
        "    log_loss: {max: 0.9}",
        "    log_loss: {max: 0.9}\n  slices: [{metric: log_loss}]",
        "exactly one of min, max and max_worse",
    ),
    "fairness by a rate of another task": (
        "task: binary",
        "task: regression",
        "gates.fairness.metric: 'selection_rate' is no metric of a regression task",
    ),
    "direction of a word": (
        "    log_loss: {max: 0.9}",
        "    log_loss: {max: 0.9}\n  behaviour:\n"
        "    - {kind: direction, name: n, column: station, by: 1, expect: higher}",
        "gates.behaviour.column: 'station' is not a feature of numbers",
    ),
    "behaviour of no kind": (
        "    log_loss: {max: 0.9}",
        "    log_loss: {max: 0.9}\n  behaviour:\n    - {kind: exmaple, name: n, row: {}}",
        "did you mean 'example'?",
    ),
    "example without a bound": (
        "    log_loss: {max: 0.9}",
        "    log_loss: {max: 0.9}\n  behaviour:\n    - {kind: example, name: n, row: {}}",
        "give min, max, or both",
    ),
    "example of no class": (
        "task: binary",
        MULTICLASS,
        "of_class: 'wett' is none of train.classes; did you mean 'wet'?",
    ),
    "space of neither": ("train:", search(space="{log: true}"), "give choices, or min and max"),
    "space of both": ("train:", search(space="{choices: [1], min: 0}"), "choices stand alone"),
    "space upside down": ("train:", search(space="{min: 2, max: 1}"), "min must be below max"),
    "log from nothing": (
        "train:",
        search(space="{min: 0, max: 1, log: true}"),
        "log needs a min above 0",
    ),
    "grid of a range": ("train:", search("grid"), "a grid needs choices or a step for 'c'"),
    "halving of nothing": ("train:", search("halving"), "method halving needs a resource"),
    "random with a resource": (
        "train:",
        search(more="  resource: {param: n, min: 1, max: 9}\n"),
        "resource is for halving and hyperband",
    ),
    "resource that cannot grow": (
        "train:",
        search("halving", more="  resource: {param: n, min: 4, max: 9}\n"),
        "max must be at least min times factor",
    ),
    "search by a metric of another task": (
        "train:",
        search(more="  metric: mae\n"),
        "search.metric: 'mae' is no metric of a binary task",
    ),
}
ALSO = {
    "fairness by a rate of another task": (
        "    log_loss: {max: 0.9}",
        "    rmse: {max: 9}\n  fairness: [{column: station, metric: selection_rate, max_gap: 1}]",
    ),
    "example of no class": (
        "    log_loss: {max: 0.9}",
        "    log_loss: {max: 0.9}\n  behaviour:\n"
        "    - {kind: example, name: n, row: {}, of_class: wett, min: 0.5}",
    ),
}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "tiny"))


def change(folder: Path, *edits: tuple[str, str]) -> Path:
    file = folder / "model.yaml"
    text = file.read_text()
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file.write_text(text)
    return file


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_told_with_its_line(tiny: Path, name: str) -> None:
    old, new, expected = BROKEN[name]
    file = change(tiny, (old, new), *([ALSO[name]] if name in ALSO else []))
    with pytest.raises(DeclarationError) as caught:
        load_model(tiny)
    (told,) = [line for line in caught.value.text.splitlines() if expected in line]
    assert re.match(rf"{re.escape(str(file))}:\d+: ", told)


def test_a_whole_search_and_all_gates_load(tiny: Path) -> None:
    resource = "  resource: {param: n, min: 1, max: 9}\n  patience: 9\n  time: 30m\n"
    change(
        tiny,
        ("train:", search("hyperband", "{min: 0.1, max: 1, log: true}", resource)),
        (
            "evaluation: {",
            "evaluation: {slices: [{column: station}, {column: humidity, bins: 3}], ",
        ),
        (
            "    log_loss: {max: 0.9}",
            "    log_loss: {max: 0.9}\n"
            "  champion: {require: no_worse, margin: 0.01}\n"
            "  baseline: {kind: pipeline, pipeline: 'pipeline.py:build'}\n"
            "  slices: [{metric: log_loss, max_worse: 0.1}]\n"
            "  fairness: [{column: station, metric: selection_rate, max_gap: 0.2}]\n"
            "  behaviour:\n"
            "    - {kind: invariance, name: a, columns: [station]}\n"
            "    - {kind: direction, name: b, column: humidity, by: 5, expect: higher}\n"
            "    - {kind: example, name: c, row: {humidity: 99}, min: 0.5}",
        ),
    )
    spec = load_model(tiny).spec
    assert spec.search is not None and spec.search.resource is not None
    assert [test.kind for test in spec.gates.behaviour] == ["invariance", "direction", "example"]
    assert spec.evaluation.slices[1].bins == 3


def test_a_regression_is_compared_by_its_error_where_nothing_is_said(tiny: Path) -> None:
    more = "  trials: 3\n"
    change(
        tiny,
        ("train:", search(more=more)),
        ("task: binary", "task: regression"),
        ("    log_loss: {max: 0.9}", "    mae: {max: 9}"),
    )
    spec = load_model(tiny).spec
    assert spec.search is not None
    named = (spec.gates.champion.metric, spec.monitor.quality.metric, spec.search.metric)
    assert named == ("rmse", "rmse", "rmse")
    change(tiny, ("    mae: {max: 9}", "    mae: {max: 9}\n  champion: {metric: mae}"))
    assert load_model(tiny).spec.gates.champion.metric == "mae"


def test_every_metric_belongs_to_a_task_and_has_a_direction() -> None:
    named = {name for names in METRICS_OF.values() for name in names}
    assert named > LOWER_IS_BETTER
    assert "rmse" not in METRICS_OF["binary"] and "f1" not in METRICS_OF["multiclass"]
