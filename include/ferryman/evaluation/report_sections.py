"""The sections of a report that tell how good the answers are: figures, pictures, slices."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.behaviour import BehaviourResult
from ferryman.evaluation.confusion import confusion
from ferryman.evaluation.curves import (
    answers_png,
    calibration_png,
    precision_recall_png,
    residuals_png,
    roc_png,
)
from ferryman.evaluation.document import (
    Block,
    Cell,
    Facts,
    Picture,
    Section,
    Table,
    Text,
    shown,
    shown_interval,
)
from ferryman.evaluation.explanation import Explanation
from ferryman.evaluation.intervals import Interval
from ferryman.evaluation.meanings import MEANINGS
from ferryman.evaluation.pictures import (
    Bar,
    bars_png,
    confusion_png,
    history_png,
    importance_png,
)
from ferryman.evaluation.slices import SliceResult
from ferryman.spec.metrics import LOWER_IS_BETTER, Task

Floats = npt.NDArray[np.float64]
Figures = Mapping[str, float | None]

NOT_ENOUGH = "not enough data"
_ROWS_EXPLAINED = 3
_FEATURES_EXPLAINED = 6
_MOST_SLICES = 60


@dataclass(frozen=True)
class Answers:
    """What was answered on the evaluation rows, and what came true.

    `labels` and `predictions` are arrays as the measures take them; `classes` is empty unless
    the task is multiclass.
    """

    task: Task
    label: str
    classes: Sequence[str]
    labels: npt.NDArray[Any]
    predictions: Floats


def headline_section(
    names: Sequence[str], figures: Figures, constant: Figures, confidence: float
) -> Section:
    """Every metric with its interval, what it means, and what a constant answer would have.

    `figures` has <metric>, <metric>_low and <metric>_high.
    """
    rows: list[Sequence[Cell]] = []
    for name in names:
        low, high = figures.get(f"{name}_low"), figures.get(f"{name}_high")
        interval = None if low is None or high is None else Interval(low, high)
        better = "lower" if name in LOWER_IS_BETTER else "higher"
        value, guess = figures.get(name), constant.get(name)
        meaning = f"{MEANINGS[name]} ({better} is better)"
        rows.append((name, value, shown_interval(interval), guess, meaning))
    note = (
        f"On {shown(int(figures.get('rows') or 0))} rows that are newer than all that was trained "
        f"on. Intervals hold at {confidence:.0%}, by the bootstrap over these rows; a dash is a "
        "figure that cannot be had. The constant is what the training labels say on the whole, "
        "answered for every row."
    )
    head = ("Metric", "Value", "Interval", "Constant", "What it says")
    return Section("Figures", [Text(note, "quiet"), Table(head, rows)])


def answers_section(given: Answers) -> Section:
    """The threshold, the confusion matrix and the curves; of a regression its errors."""
    if given.task == "regression":
        return Section("Answers and truth", list(_regression_blocks(given)))
    return Section("Answers and truth", list(_class_blocks(given)))


def slices_section(results: Sequence[SliceResult], metric: str, whole: float | None) -> Section:
    """One metric on each slice, with interval and rows; a picture a column."""
    blocks: list[Block] = []
    for column in dict.fromkeys(result.column for result in results):
        parts = [result for result in results if result.column == column]
        bars = [_slice_bar(result, metric) for result in parts]
        png = bars_png(bars, unit=metric, whole=whole)
        blocks.append(Picture(png, f"{metric} by {column}; in brackets the rows"))
    head = ("Column", "Value", "Rows", metric, "Interval", "Remark")
    rows: list[Sequence[Cell]] = []
    for result in results[:_MOST_SLICES]:
        value = result.metrics.get(metric) if result.enough else None
        interval = shown_interval(result.intervals.get(metric)) if result.enough else None
        remark = "" if result.enough else NOT_ENOUGH
        rows.append((result.column, result.value, result.rows, value, interval, remark))
    if len(results) > _MOST_SLICES:
        text = f"{len(results) - _MOST_SLICES} more slices stand in report.json."
        blocks.append(Text(text, "quiet"))
    return Section("Slices", [*blocks, Table(head, rows)])


def behaviour_section(results: Sequence[BehaviourResult]) -> Section:
    """Each behavioural test with the share that held, and rows that did not."""
    rows: list[Sequence[Cell]] = []
    misses: list[Sequence[Cell]] = []
    for result in results:
        rows.append(
            (result.name, result.wanted, result.rows, result.share, result.required, result.outcome)
        )
        for miss in result.misses:
            changed = "; ".join(f"{name}: {_change(value)}" for name, value in miss.changed.items())
            before, after = _answer(miss.before), _answer(miss.after)
            misses.append((result.name, miss.row, changed, before, after))
    blocks: list[Block] = [Table(("Test", "Asked", "Rows", "Held", "Least", "Outcome"), rows)]
    if misses:
        blocks.append(Text("The first rows that did not behave:"))
        blocks.append(Table(("Test", "Row", "Changed", "Answer before", "Answer after"), misses))
    return Section("Behaviour", blocks)


def history_section(history: Sequence[Mapping[str, float | None]]) -> Section:
    """The training's own figures over its epochs."""
    last = [(name, value) for name, value in history[-1].items()]
    about = f"Figures of the training by epoch, {len(history)} epochs"
    return Section("Training", [Picture(history_png(history), about), Facts(last)])


def explanation_section(
    found: Explanation, rows: Sequence[Mapping[str, object]], names: Sequence[str]
) -> Section:
    """Which features move the answers, and what made the answers of three rows.

    `rows` are the explained rows' feature values, `names` what the rows are called, both in the
    explanation's order.
    """
    about = (
        f"How far each feature moves the {found.unit}, on average over {len(rows)} rows, from the "
        f"mean answer over {found.background_rows} training rows (Shapley values, {found.method})."
    )
    table: list[Sequence[Cell]] = [
        (name, size) for name, size in list(found.importance.items())[:20]
    ]
    blocks: list[Block] = [
        Picture(importance_png(found.importance, unit=found.unit), about),
        Table(("Feature", f"Mean change of the {found.unit}"), table),
        Text(
            "What it does to a single answer: base and attributions sum to the answer (largest "
            f"difference {found.gap:.1e}). An attribution says what the model does with a feature, "
            "not what the feature causes."
        ),
    ]
    for place in _telling_rows(found):
        blocks += _explained_row(found, rows[place], place, names[place])
    return Section("Explanation", blocks)


def _class_blocks(given: Answers) -> Iterator[Block]:
    counted = confusion(given.labels, given.predictions, given.classes)
    names = counted.names
    if counted.threshold is not None:
        yield Text(
            f"An answer counts as {given.label!r} where the probability is at least "
            f"{counted.threshold:g}. The threshold is fixed; the curves show all others."
        )
    else:
        yield Text("The class answered is the one with the largest probability.")
    yield Picture(
        confusion_png(counted.counts, names, label=given.label),
        "Confusion matrix: rows are the truth, columns the answers; darker is a larger share",
    )
    classes = given.classes
    versus = ", each class against the rest" if classes else ""
    for png, about in (
        (roc_png(given.labels, given.predictions, classes), f"ROC curve{versus}"),
        (
            precision_recall_png(given.labels, given.predictions, classes),
            f"Precision and recall{versus}",
        ),
        (
            calibration_png(given.labels, given.predictions, classes),
            "Calibration: points on the dashed line say what comes true; lines are 95 % intervals",
        ),
    ):
        if png is None:
            yield Text(f"{about.partition(':')[0]}: {NOT_ENOUGH}", "quiet")
        else:
            yield Picture(png, about)
    if len(names) <= 30:
        rows: list[Sequence[Cell]] = [
            (f"was {name}", *counts) for name, counts in zip(names, counted.counts, strict=True)
        ]
        yield Table(("", *(f"answered {name}" for name in names)), rows)


def _regression_blocks(given: Answers) -> Iterator[Block]:
    errors = given.labels - given.predictions
    yield Picture(
        answers_png(given.labels, given.predictions, label=given.label),
        "What was answered against the truth; a perfect model lies on the dashed line",
    )
    yield Picture(
        residuals_png(given.labels, given.predictions, label=given.label),
        "What remains unexplained; a pattern here is something the model does not know",
    )
    tenth, middle, ninth = np.quantile(errors, [0.1, 0.5, 0.9])
    yield Facts(
        [
            ("Mean error (true less answered)", float(errors.mean())),
            ("Median error", float(middle)),
            ("Eight of ten errors lie within", shown_interval(Interval(tenth, ninth))),
        ]
    )


def _slice_bar(result: SliceResult, metric: str) -> Bar:
    value = result.metrics.get(metric) if result.enough else None
    interval = result.intervals.get(metric) if result.enough else None
    low, high = (interval.low, interval.high) if interval else (None, None)
    return Bar(result.value, value, low, high, result.rows)


def _telling_rows(found: Explanation) -> list[int]:
    """The rows with the lowest, the middle and the highest answer (of the likeliest class)."""
    answers = found.answers.max(axis=1) if found.classes else found.answers
    order = np.argsort(answers, kind="stable")
    places = {int(order[0]), int(order[len(order) // 2]), int(order[-1])}
    return sorted(places, key=lambda place: float(answers[place]))[:_ROWS_EXPLAINED]


def _explained_row(
    found: Explanation, row: Mapping[str, object], place: int, name: str
) -> list[Block]:
    values, base, answer = found.attributions[place], found.base, found.answers[place]
    of_class = ""
    if found.classes:
        likeliest = int(np.argmax(answer))
        values, base, answer = values[:, likeliest], base[likeliest], answer[likeliest]
        of_class = f" of {found.classes[likeliest]}"
    order = np.argsort(-np.abs(values), kind="stable")
    first, rest = order[:_FEATURES_EXPLAINED], order[_FEATURES_EXPLAINED:]
    table: list[Sequence[Cell]] = [("base", "", float(base))]
    for feature in first:
        column = found.features[feature]
        table.append((column, _value(row[column]), float(values[feature])))
    if len(rest):
        table.append((f"{len(rest)} others", "", float(values[rest].sum())))
    table.append(("answer", "", float(answer)))
    title = f"{name}: the {found.unit}{of_class} is {shown(float(answer))}"
    return [Text(title), Table(("Feature", "Value", f"Adds to the {found.unit}"), table)]


def _value(value: object) -> str:
    if value is None or value == "":
        return "no value"
    if isinstance(value, float):
        return shown(value) if math.isfinite(value) else "no value"
    return str(value)


def _change(value: object) -> str:
    if isinstance(value, list) and len(value) == 2:
        return f"{_value(value[0])} → {_value(value[1])}"
    return _value(value)


def _answer(answer: float | Sequence[float | None] | None) -> str:
    if answer is None:
        return "–"
    if isinstance(answer, float | int):
        return shown(float(answer))
    return ", ".join(shown(value) for value in answer)
