"""The rows of a search: what its trials are fitted on, and the newest part that scores them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ferryman.errors import DataRejected
from ferryman.spec.windows import format_time

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SearchRows:
    """Two frames of a training dataset that share no row, no time and no group."""

    fit: "pd.DataFrame"
    validation: "pd.DataFrame"


def split_rows(frame: "pd.DataFrame", boundary: datetime, group: Sequence[str] = ()) -> SearchRows:
    """Rows before the boundary fit, later ones validate.

    As between training and evaluation, fit rows of a group that validates are left out; columns of
    the group that are no features are not in a dataset's frame and are passed over.
    """
    newer = frame["event_time"] >= boundary
    fit, validation = frame[~newer], frame[newer]
    columns = [name for name in group if name in frame.columns]
    if columns and len(columns) == len(group):
        held = validation[columns].drop_duplicates()
        known = fit[columns].merge(held, how="left", on=columns, indicator=True)
        fit = fit[(known["_merge"] == "left_only").to_numpy()]
    return SearchRows(fit.reset_index(drop=True), validation.reset_index(drop=True))


def refuse_few_rows(rows: SearchRows, boundary: datetime, least: int) -> None:
    """Raise DataRejected (exit 3) where either side has fewer rows than that."""
    for name, side, remedy in (
        ("before", rows.fit, "Shorten search.validation, or lengthen train.window."),
        ("from", rows.validation, "Lengthen search.validation, or ingest more windows."),
    ):
        if len(side) < least:
            raise DataRejected(
                f"{len(side)} training rows {name} {format_time(boundary)}, a search needs {least} "
                "on either side (evaluation.min_rows)",
                remedy=remedy,
            )
