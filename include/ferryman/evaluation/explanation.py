"""What each feature of a row adds to the model's answer: Shapley values that sum to it.

An attribution is how far a feature moves the answer away from the mean answer over a background
sample, averaged over orders in which features become known (Lundberg and Lee, 2017). Only the
model's answers are asked for, so that every framework is explained alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from ferryman.errors import IntegrityBroken

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Predict = Callable[["pd.DataFrame"], Floats]

BACKGROUND_ROWS = 50
# Answers that one explanation may ask the model for; the background shrinks to keep it.
_BUDGET = 200_000
_LEAST_BACKGROUND = 8
# Up to here every subset of features is asked: exact, and no dearer than one permutation of many.
_EXACT_FEATURES = 6
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Explanation:
    """Attributions of some rows' answers: base + their sum is the answer.

    `base` is one number, or [classes]; `attributions` [rows, features] or [rows, features,
    classes]; `answers` [rows] or [rows, classes]. All are in `unit`: "probability", or "value" in
    a regression. `gap` is the largest difference between an answer and its sum.
    """

    features: tuple[str, ...]
    classes: tuple[str, ...]
    unit: str
    method: str
    background_rows: int
    base: Floats
    attributions: Floats
    answers: Floats
    gap: float

    @property
    def importance(self) -> dict[str, float]:
        """The mean size of each feature's attribution over rows (and classes), largest first."""
        sizes = np.abs(self.attributions)
        if self.classes:
            sizes = sizes.mean(axis=2)
        means = sizes.mean(axis=0)
        order = np.argsort(-means, kind="stable")
        return {self.features[place]: float(means[place]) for place in order}

    def as_json(self) -> dict[str, JsonValue]:
        """All of it, figures rounded to nine digits behind the point."""
        return {
            "unit": self.unit,
            "method": self.method,
            "background_rows": self.background_rows,
            "features": list(self.features),
            "classes": list(self.classes),
            "base": np.round(self.base, 9).tolist(),
            "importance": [
                {"feature": name, "size": round(size, 9)} for name, size in self.importance.items()
            ],
            "answers": np.round(self.answers, 9).tolist(),
            "attributions": np.round(self.attributions, 9).tolist(),
            "largest_gap": self.gap,
        }


def explain(  # noqa: PLR0913 - the rest are settings, by keyword
    predict: Predict,
    frame: "pd.DataFrame",
    background: "pd.DataFrame",
    features: Sequence[str],
    *,
    classes: Sequence[str] = (),
    unit: str = "probability",
    seed: int = 0,
) -> Explanation:
    """Explain the answers for the rows of a frame against a sample of background rows.

    Both frames hold the raw feature columns; nulls and text are fine. Equal seeds give equal
    attributions. Raises ValueError for no rows, IntegrityBroken (exit 7) where the sums do not
    give the answers within 1e-6: such a model answers differently for the same row.
    """
    import shap

    if frame.empty or background.empty:
        raise ValueError("an explanation needs rows, and background rows")
    exact = len(features) <= _EXACT_FEATURES
    masks = 2 ** len(features) if exact else 2 * len(features) + 1
    sample = _background(background, len(frame) * masks, seed)
    coded = _Coded.of(frame, sample, features)
    kind = shap.explainers.Exact if exact else shap.explainers.Permutation
    masker = shap.maskers.Independent(coded.background, max_samples=len(coded.background))
    settings: dict[str, Any] = {} if exact else {"seed": seed}
    # The explainers draw their orders from numpy's global state: it is put back after them.
    state = np.random.get_state()
    try:
        explainer = kind(coded.answered_by(predict), masker, **settings)
        found = explainer(coded.rows, max_evals=masks, batch_size=masks, silent=True)
    finally:
        np.random.set_state(state)
    answers = np.asarray(predict(frame[list(features)]), dtype=np.float64)
    values = np.asarray(found.values, dtype=np.float64)
    bases = np.asarray(found.base_values, dtype=np.float64)
    gap = _largest_gap(values, bases, answers)
    return Explanation(
        features=tuple(features),
        classes=tuple(classes),
        unit=unit,
        method="exact" if exact else "permutation",
        background_rows=len(sample),
        base=bases[0] if bases.ndim == answers.ndim else bases,
        attributions=values,
        answers=answers,
        gap=gap,
    )


def _background(frame: "pd.DataFrame", evaluations: int, seed: int) -> "pd.DataFrame":
    """A sample small enough for the budget of answers; equal seeds give equal samples."""
    most = min(BACKGROUND_ROWS, max(_LEAST_BACKGROUND, _BUDGET // evaluations))
    if len(frame) <= most:
        return frame
    chosen = np.random.default_rng(seed).choice(len(frame), most, replace=False)
    return frame.iloc[np.sort(chosen)]


def _largest_gap(values: Floats, bases: Floats, answers: Floats) -> float:
    gap = float(np.abs(bases + values.sum(axis=1) - answers).max())
    if not gap <= _TOLERANCE * max(1.0, float(np.abs(answers).max())):
        raise IntegrityBroken(
            f"the attributions do not sum to the answers: they differ by {gap:.3g}",
            remedy="The model answers differently for the same row: make its prediction "
            "deterministic, or set evaluation.explained_rows to 0.",
        )
    return gap


@dataclass(frozen=True)
class _Coded:
    """Rows as places in each column's table of values, which is all that the masker can mix.

    It multiplies what it hides by 0, which leaves NaN as it is, and takes no text.
    """

    rows: Floats
    background: Floats
    tables: Mapping[str, npt.NDArray[Any]]

    @classmethod
    def of(
        cls, frame: "pd.DataFrame", background: "pd.DataFrame", features: Sequence[str]
    ) -> "_Coded":
        import pandas as pd

        codes, tables = [], {}
        for name in features:
            column = pd.concat([frame[name], background[name]], ignore_index=True)
            places, table = pd.factorize(column, use_na_sentinel=False)
            codes.append(places.astype(np.float64))
            tables[name] = np.asarray(table)
        coded = np.stack(codes, axis=1)
        return cls(coded[: len(frame)], coded[len(frame) :], tables)

    def answered_by(self, predict: Predict) -> Callable[[Floats], Floats]:
        """The model over coded rows [rows, features]."""
        import pandas as pd

        def answer(coded: Floats) -> Floats:
            places = coded.astype(np.intp)
            columns = {
                name: table[places[:, place]]
                for place, (name, table) in enumerate(self.tables.items())
            }
            return np.asarray(predict(pd.DataFrame(columns)), dtype=np.float64)

        return answer
