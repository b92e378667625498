"""A logistic regression on products of up to three columns, for numbers as they usually are.

A number that is no measure, such as 9.97e36 by which a file of netCDF says that there is none, has
powers beyond every float: their sum is no number. Nothing that packaging tries is that large.
"""

from collections.abc import Mapping

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler


def build(params: Mapping[str, float | int | str | bool], seed: int) -> Pipeline:
    """An unfitted pipeline."""
    numbers = Pipeline([("filled", SimpleImputer(strategy="median")), ("scaled", StandardScaler())])
    columns = ColumnTransformer(
        [
            ("words", OneHotEncoder(handle_unknown="ignore"), ["sky"]),
            ("numbers", numbers, ["humidity", "clouds"]),
        ],
        sparse_threshold=0,
    )
    products = PolynomialFeatures(degree=3, include_bias=False)
    regression = LogisticRegression(**params, max_iter=2000, random_state=seed)
    return Pipeline([("columns", columns), ("products", products), ("regression", regression)])
