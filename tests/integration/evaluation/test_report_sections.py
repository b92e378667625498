"""The sections of a report: what they say of figures, answers, slices, behaviour, explanations."""

import numpy as np
import pytest

from ferryman.evaluation.behaviour import BehaviourResult, Miss
from ferryman.evaluation.document import Document, Facts, Picture, Section, Table, Text
from ferryman.evaluation.explanation import Explanation
from ferryman.evaluation.intervals import Interval
from ferryman.evaluation.meanings import MEANINGS
from ferryman.evaluation.report_page import render_html
from ferryman.evaluation.report_sections import (
    Answers,
    answers_section,
    behaviour_section,
    explanation_section,
    headline_section,
    history_section,
    slices_section,
)
from ferryman.evaluation.slices import SliceResult
from ferryman.spec.metrics import METRICS_OF


def _tables(section: Section) -> list[Table]:
    render_html(Document("t", "a", [section]))  # whatever is in it can be written
    return [block for block in section.blocks if isinstance(block, Table)]


def _words(section: Section) -> str:
    return " ".join(block.text for block in section.blocks if isinstance(block, Text))


def test_every_metric_has_a_meaning() -> None:
    assert set(MEANINGS) == {name for names in METRICS_OF.values() for name in names}


def test_figures_with_interval_constant_and_meaning() -> None:
    figures = {"rows": 900.0, "roc_auc": 0.7, "roc_auc_low": 0.65, "roc_auc_high": 0.75}
    section = headline_section(["roc_auc", "f1"], figures, {"roc_auc": 0.5, "f1": None}, 0.95)
    [table] = _tables(section)
    assert table.rows[0][:4] == ("roc_auc", 0.7, "[0.6500, 0.7500]", 0.5)
    assert table.rows[1][:4] == ("f1", None, "–", None)
    assert "higher is better" in str(table.rows[0][4])
    assert "900 rows" in _words(section)
    assert "95%" in _words(section)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_answers_of_every_task(task: str) -> None:
    generator = np.random.default_rng(3)
    classes: tuple[str, ...] = ()
    if task == "binary":
        labels, predictions = generator.random(60) < 0.5, generator.random(60)
    elif task == "multiclass":
        classes = ("<a>", "b", "c")
        labels, predictions = generator.integers(0, 3, 60), generator.dirichlet([1, 1, 1], 60)
    else:
        labels, predictions = generator.normal(size=60), generator.normal(size=60)
    section = answers_section(Answers(task, "late", classes, labels, predictions))  # type: ignore[arg-type]
    pictures = [block for block in section.blocks if isinstance(block, Picture)]
    if task == "regression":
        assert len(pictures) == 2
        [facts] = [block for block in section.blocks if isinstance(block, Facts)]
        assert facts.items[0][1] == pytest.approx(float((labels - predictions).mean()))
        return
    assert len(pictures) == 4
    [table] = _tables(section)
    counted = [count for row in table.rows for count in row[1:]]
    assert sum(counted) == 60  # type: ignore[arg-type]
    assert ("at least 0.5" in _words(section)) == (task == "binary")


def test_curves_that_there_are_not_are_told() -> None:
    labels, predictions = np.ones(8, dtype=bool), np.linspace(0, 1, 8)
    section = answers_section(Answers("binary", "late", (), labels, predictions))
    assert "ROC curve: not enough data" in _words(section)


def _slice(value: str, rows: int, low: float | None) -> SliceResult:
    if low is None:
        return SliceResult("city", value, rows, enough=False, confidence=0.95)
    figures: dict[str, float | None] = {"roc_auc": low + 0.05}
    interval: dict[str, Interval | None] = {"roc_auc": Interval(low, low + 0.1)}
    return SliceResult("city", value, rows, True, 0.95, figures, interval)


def test_slices_without_enough_data_have_no_figures() -> None:
    section = slices_section([_slice("a", 900, 0.6), _slice("b", 3, None)], "roc_auc", 0.7)
    [table] = _tables(section)
    assert table.rows[1] == ("city", "b", 3, None, None, "not enough data")
    assert table.rows[0][3:5] == (pytest.approx(0.65), "[0.6000, 0.7000]")


def test_behaviour_with_rows_that_missed() -> None:
    miss = Miss(4, {"x": [None, 2.0]}, [0.5, None], [0.25, 0.75])
    example = Miss(0, {"sky": "black"}, None, 0.4)
    results = [
        BehaviourResult("t", "invariance", "x changes nothing", 9, 8, 0.95, (miss,)),
        BehaviourResult("e", "example", "at least 0.9", 1, 0, 1.0, (example,)),
        BehaviourResult("n", "direction", "x up", 0, 0, 1.0),
    ]
    tests, missed = _tables(behaviour_section(results))
    assert [row[-1] for row in tests.rows] == ["failed", "failed", "undecided"]
    assert missed.rows[0] == ("t", 4, "x: no value → 2", "0.5000, –", "0.2500, 0.7500")
    assert missed.rows[1] == ("e", 0, "sky: black", "–", "0.4000")


def test_explained_rows_sum_to_their_answer() -> None:
    names = tuple(f"f{n}" for n in range(9))
    values = np.random.default_rng(4).normal(size=(5, 9))
    base = np.float64(0.25)
    answers = base + values.sum(axis=1)
    found = Explanation(names, (), "value", "permutation", 50, base, values, answers, 1e-16)
    rows = [{name: float("nan") if name == "f0" else "<b>" for name in names}] * 5
    tables = _tables(explanation_section(found, rows, list("abcde")))
    assert len(tables) == 4
    for table in tables[1:]:
        *parts, answer = [float(row[2]) for row in table.rows]  # type: ignore[arg-type]
        assert sum(parts) == pytest.approx(answer)
        assert len(parts) == 8  # the base, six features, the others together
    sizes = [float(row[1]) for row in tables[0].rows]  # type: ignore[arg-type]
    assert sizes == sorted(sizes, reverse=True)


def test_explained_classes() -> None:
    values = np.random.default_rng(5).normal(size=(3, 2, 4)) / 100
    base = np.full(4, 0.25)
    answers = base + values.sum(axis=1)
    found = Explanation(
        ("a", "b"), tuple("wxyz"), "probability", "exact", 9, base, values, answers, 0.0
    )
    section = explanation_section(found, [{"a": 1.0, "b": None}] * 3, ["<x>", "y", "z"])
    words = _words(section)
    likeliest = "wxyz"[int(answers[0].argmax())]
    assert f"probability of {likeliest}" in words
    assert "no value" in render_html(Document("t", "a", [section])).decode()


def test_history_tells_the_last_epoch() -> None:
    section = history_section([{"loss": 2.0, "auc": None}, {"loss": 1.0, "auc": 0.75}])
    [facts] = [block for block in section.blocks if isinstance(block, Facts)]
    assert list(facts.items) == [("loss", 1.0), ("auc", 0.75)]
