"""Behavioural tests: what a model must do, whatever its metrics say.

Three kinds, after Ribeiro et al. 2020, "Beyond Accuracy: Behavioral Testing of NLP Models with
CheckList": an answer that must not change (invariance), one that must go one way (direction), and
one row whose answer is known (example, their minimum functionality test).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.gates import Outcome
from ferryman.spec.data import FeatureSpec
from ferryman.spec.evaluation import BehaviourSpec, DirectionSpec, ExampleSpec, InvarianceSpec

if TYPE_CHECKING:
    import pandas as pd

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Predict = Callable[["pd.DataFrame"], Floats]

_SHOWN = 3


@dataclass(frozen=True)
class Miss:
    """A row that did not behave: its place in the frame, what was changed, both answers.

    changed: [before, after] by column. before and after: the answer, or one a class; `before` is
    None for an example, whose `changed` is its row.
    """

    row: int
    changed: dict[str, Any]
    before: float | list[float | None] | None
    after: float | list[float | None] | None


@dataclass(frozen=True)
class BehaviourResult:
    """How many of the rows that a test could be made on behaved, and the first that did not.

    `required` is the least share; `wanted` says in words what was asked.
    """

    name: str
    kind: str
    wanted: str
    rows: int
    held: int
    required: float
    misses: tuple[Miss, ...] = ()

    @property
    def share(self) -> float | None:
        """Share of the rows that behaved; None where no row could be tested."""
        return self.held / self.rows if self.rows else None

    @property
    def outcome(self) -> Outcome:
        """Undecided where no row could be tested."""
        if not self.rows:
            return "undecided"
        return "passed" if self.held >= self.required * self.rows else "failed"

    def as_json(self) -> dict[str, Any]:
        """The fields by name, with `share` and `outcome`."""
        return {**asdict(self), "share": self.share, "outcome": self.outcome}


def run_behaviour(  # noqa: PLR0913 - what is tested, on what, and how a row is made
    tests: Sequence[BehaviourSpec],
    frame: "pd.DataFrame",
    predict: Predict,
    *,
    features: Mapping[str, FeatureSpec],
    classes: Sequence[str] = (),
    seed: int = 0,
) -> list[BehaviourResult]:
    """Run each test on the rows of a frame of feature columns (extra columns are left out).

    `predict` gives the answers of such a frame, shaped as Predictions; `classes` are their order
    in a multiclass task. An answer that is no finite number never behaves. Equal seeds give equal
    results.
    """
    rows = frame[list(features)].reset_index(drop=True)
    before = predict(rows) if len(rows) and any(test.kind != "example" for test in tests) else None
    found = []
    for place, test in enumerate(tests):
        if isinstance(test, ExampleSpec):
            found.append(_example(test, predict, features, classes))
        elif isinstance(test, InvarianceSpec):
            generator = np.random.default_rng([seed, place])
            found.append(_invariance(test, rows, before, predict, generator))
        else:
            found.append(_direction(test, rows, before, predict, classes))
    return found


def behaviour_opinions(results: Sequence[BehaviourResult]) -> list[tuple[Outcome, str]]:
    """What the tests say to the gate: one opinion each."""
    found: list[tuple[Outcome, str]] = []
    for result in results:
        if result.share is None:
            text = f"{result.name!r} could not be tested: no row for {result.wanted}"
        elif result.kind == "example":
            answer = result.misses[0].after if result.misses else None
            told = f": the answer is {_answer(answer)}" if result.misses else ""
            text = f"{result.name!r}: {result.wanted}{told}"
        else:
            text = (
                f"{result.name!r} held on {result.share:.2%} of {result.rows} rows "
                f"(at least {result.required:.2%}): {result.wanted}"
            )
        found.append((result.outcome, f"behaviour {text}"))
    return found


def _invariance(
    test: InvarianceSpec,
    rows: "pd.DataFrame",
    before: Floats | None,
    predict: Predict,
    generator: np.random.Generator,
) -> BehaviourResult:
    wanted = f"other values of {', '.join(test.columns)} change the answer by {test.tolerance:g} "
    wanted += "at most"
    if before is None:
        return BehaviourResult(test.name, test.kind, wanted, 0, 0, test.share)
    changed = rows.copy()
    # Moved together: the columns keep combinations that occur.
    order = generator.permutation(len(rows))
    for column in test.columns:
        changed[column] = rows[column].to_numpy()[order]
    differs = np.zeros(len(rows), dtype=np.bool_)
    for column in test.columns:
        differs |= _differ(rows[column], changed[column])
    # A row that got its own value back says nothing.
    tested = np.flatnonzero(differs)
    return _result(test, wanted, rows, changed, before, predict, tested, None)


def _direction(
    test: DirectionSpec,
    rows: "pd.DataFrame",
    before: Floats | None,
    predict: Predict,
    classes: Sequence[str],
) -> BehaviourResult:
    of_class = f" of {test.of_class}" if test.of_class is not None else ""
    wanted = f"{test.column} {test.by:+g} makes the answer{of_class} {test.expect}, or leaves it"
    if before is None:
        return BehaviourResult(test.name, test.kind, wanted, 0, 0, test.share)
    changed = rows.copy()
    changed[test.column] = rows[test.column].astype("float64") + test.by
    tested = np.flatnonzero(np.isfinite(changed[test.column].to_numpy(dtype=np.float64)))
    place = _place(test.of_class, classes)
    return _result(test, wanted, rows, changed, before, predict, tested, place)


def _result(  # noqa: PLR0913, PLR0917 - the two frames and what is compared
    test: InvarianceSpec | DirectionSpec,
    wanted: str,
    rows: "pd.DataFrame",
    changed: "pd.DataFrame",
    before: Floats,
    predict: Predict,
    tested: npt.NDArray[np.intp],
    place: int | None,
) -> BehaviourResult:
    """Answer the changed rows and count those that behaved."""
    if not len(tested):
        return BehaviourResult(test.name, test.kind, wanted, 0, 0, test.share)
    was, now = before[tested], predict(changed.iloc[tested])
    step = now - was if place is None else now[:, place] - was[:, place]
    held: Bools
    if isinstance(test, InvarianceSpec):
        held = np.abs(step).reshape(len(step), -1).max(axis=1) <= test.tolerance
        columns = test.columns
    else:
        held = (step if test.expect == "higher" else -step) >= -test.tolerance
        columns = [test.column]
    misses = tuple(
        Miss(
            row=int(tested[index]),
            changed={
                name: [_plain(part[name].iloc[tested[index]]) for part in (rows, changed)]
                for name in columns
            },
            before=_answers(was[index]),
            after=_answers(now[index]),
        )
        for index in np.flatnonzero(~held)[:_SHOWN]
    )
    count = int(np.count_nonzero(held))
    return BehaviourResult(test.name, test.kind, wanted, len(tested), count, test.share, misses)


def _example(
    test: ExampleSpec,
    predict: Predict,
    features: Mapping[str, FeatureSpec],
    classes: Sequence[str],
) -> BehaviourResult:
    import pandas as pd

    bounds = [f"at least {test.min:g}"] if test.min is not None else []
    bounds += [f"at most {test.max:g}"] if test.max is not None else []
    of_class = f" of {test.of_class}" if test.of_class is not None else ""
    wanted = f"the answer{of_class} is {' and '.join(bounds)}"
    row = {name: _given(test.row.get(name), column) for name, column in features.items()}
    answers = predict(pd.DataFrame({name: [value] for name, value in row.items()}))[0]
    place = _place(test.of_class, classes)
    answer = float(answers if place is None else answers[place])
    low = -np.inf if test.min is None else test.min
    high = np.inf if test.max is None else test.max
    if np.isfinite(answer) and low <= answer <= high:
        return BehaviourResult(test.name, test.kind, wanted, 1, 1, 1.0)
    shown = {name: _plain(value) for name, value in row.items() if name in test.row}
    miss = Miss(row=0, changed=shown, before=None, after=_answers(np.float64(answer)))
    return BehaviourResult(test.name, test.kind, wanted, 1, 0, 1.0, (miss,))


def _given(value: float | int | str | None, column: FeatureSpec) -> float | str:
    """A feature's value as a frame holds it; null is NaN, or "" for a category."""
    if column.type == "category":
        return "" if value is None else str(value)
    return float("nan") if value is None else float(value)


def _place(of_class: str | None, classes: Sequence[str]) -> int | None:
    return None if of_class is None or not classes else list(classes).index(of_class)


def _differ(one: "pd.Series[Any]", other: "pd.Series[Any]") -> Bools:
    """Where two columns differ; two values that are both missing do not."""
    missing = one.isna().to_numpy(dtype=np.bool_), other.isna().to_numpy(dtype=np.bool_)
    first, second = one.to_numpy(dtype=object), other.to_numpy(dtype=object)
    present = ~(missing[0] | missing[1])
    differs: Bools = missing[0] != missing[1]
    differs[present] = np.not_equal(first[present], second[present]).astype(np.bool_)
    return differs


def _plain(value: Any) -> Any:
    """A cell as JSON has it: None for what is missing."""
    import pandas as pd

    if isinstance(value, str) or pd.isna(value):
        return value if isinstance(value, str) else None
    number = float(value)
    if not np.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


def _answers(answer: npt.ArrayLike) -> float | list[float | None] | None:
    """One row's answer as JSON has it."""
    values = np.asarray(answer, dtype=np.float64)
    plain = [float(value) if np.isfinite(value) else None for value in np.atleast_1d(values)]
    return plain if values.ndim else plain[0]


def _answer(answer: float | list[float | None] | None) -> str:
    return "no number" if answer is None else f"{answer:.4g}"
