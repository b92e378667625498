"""A line through three numbers."""

from collections.abc import Mapping

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline


def build(params: Mapping[str, float | int | str | bool], seed: int) -> Pipeline:
    """An unfitted pipeline."""
    numbers = ["amount_eur", "visits_last_day"]
    columns = ColumnTransformer([("numbers", SimpleImputer(), numbers)])
    return Pipeline([("columns", columns), ("line", LogisticRegression(random_state=seed))])
