"""The model of the flights example: boosted trees over ordinal categories, and a linear baseline.

Preprocessing lives inside the fitted pipeline, so that training, batch and online scoring share
it. The pipeline takes a frame with one column per feature of `features.sql`, float32 for numbers
(missing is NaN) and text for categories (missing is the empty string).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

CATEGORIES = ["carrier", "origin", "dest", "plane_maker"]
NUMBERS = [
    "departure_minute",
    "arrival_minute",
    "weekday",
    "distance",
    "departures_same_hour",
    "plane_age",
    "plane_seats",
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
    "precip_6h",
    "visib_6h",
    "pressure_trend",
    "flight_excess_late",
    "hour_excess_late",
    "route_excess_late",
    "plane_excess_late",
]
SCHEDULE = ["departure_minute", "arrival_minute", "weekday", "distance", "departures_same_hour"]


def build(params: Mapping[str, float | int | str], seed: int) -> Pipeline:
    """Make the unfitted pipeline; `params` are those of `HistGradientBoostingClassifier`."""
    import numpy as np
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    # float32, as the numbers and as in ONNX: both sides must compare the same values. The export
    # rounds the fitted thresholds down to float32 too, which changes no prediction on float32.
    # A category that training never saw is -1, which the trees treat as any other number.
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float32)
    columns = ColumnTransformer(
        [("categories", encoder, CATEGORIES), ("numbers", "passthrough", NUMBERS)],
        verbose_feature_names_out=False,
    )
    # No early stopping: it would hold out random rows, and days must not be split at random.
    trees = HistGradientBoostingClassifier(**params, early_stopping=False, random_state=seed)
    return Pipeline([("columns", columns), ("trees", trees)])


def build_baseline(params: Mapping[str, float | int | str], seed: int) -> Pipeline:
    """Make the linear model that the trees must beat; `params` are those of LogisticRegression.

    It sees the schedule only: what anybody could say without weather, planes and the recent past.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    words = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer(
        [
            ("categories", words, ["carrier", "origin"]),
            ("numbers", StandardScaler(), SCHEDULE),
        ]
    )
    return Pipeline(
        [("columns", columns), ("line", LogisticRegression(**params, random_state=seed))]
    )
