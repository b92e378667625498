"""Replays raw rows through the exported graph and through the fitted model, and compares."""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ferryman.errors import IntegrityBroken, SpecError
from ferryman.packaging.onnx_scorer import feed, open_session, run_graph
from ferryman.runtime.bundle import FeatureColumn, Scalar
from ferryman.spec.data import FeatureSpec

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

TOLERANCE = 1e-5
UNSEEN = "a value that training never saw"
Scores = npt.NDArray[np.float64]
Predict = Callable[["pd.DataFrame"], Scores]


@dataclass(frozen=True)
class ParityReport:
    """How far the graph's probabilities are from the fitted model's."""

    rows: int
    max_difference: float


def check(
    predict: Predict,
    graph: Path,
    columns: Mapping[str, FeatureSpec],
    rows: "pd.DataFrame",
    *,
    tolerance: float = TOLERANCE,
) -> ParityReport:
    """Compare on raw rows; IntegrityBroken (exit 7) names the worst row with its values.

    `predict` is the fitted model's; `rows` holds the feature columns, nulls and all.
    """
    expected = predict(rows)
    session = open_session(graph.read_bytes(), str(graph))
    found = run_graph(session, feed(rows, feature_columns(columns)))
    difference = np.abs(found - expected)
    # NaN is a difference too: every comparison with it is false.
    wrong = ~(difference <= tolerance)
    if wrong.any():
        worst = int(np.argmax(np.where(np.isnan(difference), np.inf, difference)))
        values = ", ".join(
            f"{name}={value!r}" for name, value in raw_row(rows, worst, columns).items()
        )
        raise IntegrityBroken(
            f"ONNX and pipeline differ on {int(wrong.sum())} of {len(rows)} rows; the worst is row "
            f"{worst}: {found[worst]:.9g} instead of {expected[worst]:.9g}, where {values}",
            remedy="Change the pipeline: a part of it is not exported exactly (known ones: native "
            "categorical splits; scaling before trees, which need none).",
        )
    report = ParityReport(rows=len(rows), max_difference=float(difference.max(initial=0.0)))
    logger.info("parity on %d rows: at most %.2g apart", report.rows, report.max_difference)
    return report


def probe_rows(
    frame: "pd.DataFrame", columns: Mapping[str, FeatureSpec], *, count: int, seed: int
) -> "pd.DataFrame":
    """A sample of real rows, and copies of some with every kind of surprise, one column at a time.

    Each column is once null, each category once a value that training never saw, each number once
    beyond either end of what the frame holds; then rows with all of them null, or all unseen.
    """
    import pandas as pd

    generator = np.random.default_rng(seed)
    picked = generator.choice(len(frame), size=min(count, len(frame)), replace=False)
    real = frame.iloc[np.sort(picked)][list(columns)].reset_index(drop=True)
    surprises: list[dict[str, Any]] = []
    for name, column in columns.items():
        surprises.append({name: _null(column)})
        if column.type == "category":
            surprises.append({name: UNSEEN})
        else:
            low, high = frame[name].min(), frame[name].max()
            if pd.notna(low):
                reach = max(abs(float(high) - float(low)), 1.0)
                surprises += [{name: float(low) - reach}, {name: float(high) + reach}]
    surprises.append({name: _null(column) for name, column in columns.items()})
    surprises.append(
        {name: UNSEEN for name, column in columns.items() if column.type == "category"}
    )
    changed = real.iloc[generator.choice(len(real), size=len(surprises))].reset_index(drop=True)
    values = {
        name: [change.get(name, old) for change, old in zip(surprises, changed[name], strict=True)]
        for name in columns
    }
    dtypes = {name: "object" if c.type == "category" else "float64" for name, c in columns.items()}
    return pd.concat([real.astype(dtypes), pd.DataFrame(values).astype(dtypes)], ignore_index=True)


def answer_all(predict: Predict, rows: "pd.DataFrame") -> Scores:
    """The model's answers; SpecError (exit 2) where it cannot answer rows with nulls or news."""
    try:
        return predict(rows)
    except ValueError as error:
        text = str(error).strip().split("\n")[0][:300]
        raise SpecError(
            f"the fitted pipeline cannot answer rows with nulls or unseen categories: {text}",
            remedy="Impute nulls and encode unknown categories inside the pipeline.",
        ) from error


def feature_columns(columns: Mapping[str, FeatureSpec]) -> list[FeatureColumn]:
    """Declared columns in the bundle's words."""
    return [FeatureColumn(name=name, type=column.type) for name, column in columns.items()]


def raw_row(
    rows: "pd.DataFrame", index: int, columns: Mapping[str, FeatureSpec]
) -> dict[str, Scalar]:
    """One row as a client would send it: null, text, whole numbers for integers."""
    return {
        name: _raw(rows[name].iloc[index], column.type == "category", column.type == "integer")
        for name, column in columns.items()
    }


def _raw(value: Any, text: bool, whole: bool) -> Scalar:
    if text:
        return str(value) if isinstance(value, str) and value else None
    number = math.nan if value is None else float(value)
    if math.isnan(number):
        return None
    return int(number) if whole and number.is_integer() else number


def _null(column: FeatureSpec) -> Any:
    return "" if column.type == "category" else float("nan")
