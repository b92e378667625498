"""Boosted trees that answer a number."""

from collections.abc import Mapping

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder


def build(params: Mapping[str, float | int | str | bool], seed: int) -> Pipeline:
    """An unfitted pipeline."""
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float32)
    columns = ColumnTransformer(
        [("words", encoder, ["street"]), ("numbers", "passthrough", ["metres", "rooms"])]
    )
    trees = HistGradientBoostingRegressor(**params, early_stopping=False, random_state=seed)
    return Pipeline([("columns", columns), ("trees", trees)])
