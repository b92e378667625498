"""A logistic regression on one number and one word."""

from collections.abc import Mapping

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder


def build(params: Mapping[str, float | int | str | bool], seed: int) -> Pipeline:
    """An unfitted pipeline."""
    columns = ColumnTransformer(
        [
            ("words", OneHotEncoder(handle_unknown="ignore"), ["station"]),
            ("numbers", SimpleImputer(), ["humidity"]),
        ]
    )
    return Pipeline(
        [("columns", columns), ("model", LogisticRegression(random_state=seed, max_iter=500))]
    )
