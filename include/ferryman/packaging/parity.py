"""Replays raw rows through every written format, and compares with the trained model's answers."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ferryman.errors import IntegrityBroken, SpecError
from ferryman.packaging.probes import raw_row
from ferryman.spec.data import FeatureSpec
from ferryman.spec.metrics import Task

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

TOLERANCE = 1e-5
_TRIED = 20  # rows whose values are tried in the place of the worst row's
Scores = npt.NDArray[np.float64]
Predict = Callable[["pd.DataFrame"], Scores]


@dataclass(frozen=True)
class ParityReport:
    """How far the answers of each written format are from the trained model's.

    `tolerance` is what a difference may be, in the unit of the answers.
    """

    rows: int
    formats: Mapping[str, float]
    tolerance: float

    @property
    def max_difference(self) -> float:
        """The largest of all formats."""
        return max(self.formats.values(), default=0.0)


@dataclass(frozen=True)
class Trained:
    """The trained model's answers to some rows, and how to ask it for more, as read from its file.

    `outputs` names what it answers: a name a class of a multiclass model, else one name.
    """

    rows: "pd.DataFrame"
    answers: Scores
    predict: Predict
    columns: Mapping[str, FeatureSpec]
    outputs: Sequence[str]
    tolerance: float = TOLERANCE


def tolerance_of(task: Task, answers: Scores) -> float:
    """What two formats may differ by: of a regression a share of its answers' size.

    Graphs reckon with float32, which has seven digits, whatever the unit of the label.
    """
    largest = float(np.abs(answers).max(initial=0.0)) if task == "regression" else 1.0
    return TOLERANCE * (largest or 1.0)


def compare(trained: Trained, formats: Mapping[str, Predict]) -> ParityReport:
    """Ask every format for the same rows.

    Raises IntegrityBroken (exit 7) that names format, worst row and output, the row's values, and
    the feature column that carries the difference where one alone does.
    """
    found = {name: _largest(name, predict, trained) for name, predict in formats.items()}
    report = ParityReport(rows=len(trained.rows), formats=found, tolerance=trained.tolerance)
    logger.info(
        "parity on %d rows: %s",
        report.rows,
        ", ".join(f"{name} at most {value:.2g} apart" for name, value in found.items()),
    )
    return report


def answer_all(predict: Predict, rows: "pd.DataFrame") -> Scores:
    """The model's answers; SpecError (exit 2) where it cannot answer rows with nulls or news."""
    remedy = "Impute nulls and encode unknown categories inside the pipeline, or declare nullable: "
    try:
        answers = predict(rows)
    except ValueError as error:
        text = str(error).strip().split("\n")[0][:300]
        raise SpecError(
            f"the fitted pipeline cannot answer rows with nulls or unseen categories: {text}",
            remedy=f"{remedy}false.",
        ) from error
    silent = ~np.isfinite(answers.reshape(len(rows), -1)).all(axis=1)
    if silent.any():
        row = rows.iloc[int(np.argmax(silent))]
        nulls = [str(name) for name in rows.columns if row[name] is None or row[name] != row[name]]
        raise SpecError(
            f"the fitted model gives no finite number for {int(silent.sum())} of {len(rows)} rows; "
            f"the first has nulls in: {', '.join(nulls[:10]) or 'no column'}",
            remedy=f"{remedy}false.",
        )
    return answers


def _largest(name: str, predict: Predict, trained: Trained) -> float:
    """The largest difference of one format, which must be within the tolerance."""
    found = predict(trained.rows)
    if found.shape != trained.answers.shape:
        raise IntegrityBroken(
            f"{name} answers in the shape {found.shape}, the trained model in "
            f"{trained.answers.shape}",
            remedy="Train and package again.",
        )
    difference = _apart(found, trained.answers)
    # NaN is a difference too: every comparison with it is false.
    if not (difference <= trained.tolerance).all():
        raise _broken(name, predict, trained, found)
    return float(difference.max(initial=0.0))


def _broken(name: str, predict: Predict, trained: Trained, found: Scores) -> IntegrityBroken:
    difference = _apart(found, trained.answers)
    agrees = np.asarray((difference <= trained.tolerance).all(axis=1), dtype=np.bool_)
    worst = int(np.argmax(np.where(np.isnan(difference), np.inf, difference)))
    row, output = divmod(worst, difference.shape[1])
    got, expected = (_table(answers)[row, output] for answers in (found, trained.answers))
    shown = raw_row(trained.rows, row, trained.columns)
    values = ", ".join(f"{column}={value!r}" for column, value in shown.items())
    carrier = _carrier(predict, trained, agrees, row)
    blamed = f"; feature column {carrier!r} carries it" if carrier else ""
    return IntegrityBroken(
        f"{name} and the trained model differ on {int((~agrees).sum())} of "
        f"{len(trained.rows)} rows; the worst is row {row}: column {trained.outputs[output]!r} is "
        f"{got:.9g} instead of {expected:.9g}, where {values}{blamed}",
        remedy="Train and package again. Where it stays, a part of the pipeline is not exported "
        "exactly (known: native categorical splits; scaling before trees, which need none).",
    )


def _carrier(
    predict: Predict, trained: Trained, agrees: npt.NDArray[np.bool_], worst: int
) -> str | None:
    """The feature column whose value alone makes the worst row differ, if there is one.

    The row is asked again with one column at a time taken from rows that agree. A constant that
    shifts every row alike has no such column.
    """
    import pandas as pd

    agreeing = np.flatnonzero(agrees)
    if not len(agreeing) or predict == trained.predict:  # the model's own file: nothing to ask
        return None
    agreeing = agreeing[np.unique(np.linspace(0, len(agreeing) - 1, _TRIED).round().astype(int))]
    row = trained.rows.iloc[[worst] * len(agreeing)].reset_index(drop=True)
    names = list(trained.columns)
    changed = pd.concat(
        [row.assign(**{name: trained.rows[name].iloc[agreeing].to_numpy()}) for name in names],
        ignore_index=True,
    )
    difference = _apart(predict(changed), trained.predict(changed)).max(axis=1)
    mended = (difference <= trained.tolerance).reshape(len(names), len(agreeing)).mean(axis=1)
    first, *others = np.argsort(-mended, kind="stable").tolist()
    # A value far out hides any difference in a probability near 0 or 1: one that mends is chance.
    alone = not others or mended[first] > mended[others[0]]
    return names[first] if alone and mended[first] > 0.5 else None


def _apart(found: Scores, expected: Scores) -> Scores:
    difference: Scores = np.abs(_table(found) - _table(expected))
    return difference


def _table(answers: Scores) -> Scores:
    """Answers as [rows, outputs]."""
    return answers.reshape(len(answers), -1)
