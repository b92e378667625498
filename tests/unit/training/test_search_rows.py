"""Which rows of a training dataset fit the trials, and which score them."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from ferryman.errors import DataRejected
from ferryman.training.search_rows import refuse_few_rows, split_rows

BOUNDARY = datetime(2024, 1, 8, tzinfo=UTC)


@pytest.fixture
def frame() -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=10, freq="D", tz="UTC")
    return pd.DataFrame({"event_time": days, "station": list("aabbccddca"), "label": True})


def test_the_newest_rows_score_and_no_row_does_both(frame: pd.DataFrame):
    rows = split_rows(frame, BOUNDARY)
    assert (len(rows.fit), len(rows.validation)) == (7, 3)
    assert rows.fit["event_time"].max() < BOUNDARY <= rows.validation["event_time"].min()


def test_a_group_that_scores_does_not_fit(frame: pd.DataFrame):
    rows = split_rows(frame, BOUNDARY, ["station"])
    assert set(rows.validation["station"]) == {"d", "c", "a"}
    assert list(rows.fit["station"]) == ["b", "b"]


@pytest.mark.parametrize(("least", "text"), [(4, "3 training rows from"), (8, "7 training rows b")])
def test_too_few_rows_are_refused(frame: pd.DataFrame, least: int, text: str):
    if least == 4:
        with pytest.raises(DataRejected, match=text):
            refuse_few_rows(split_rows(frame, BOUNDARY), BOUNDARY, least)
        return
    with pytest.raises(DataRejected, match=text):
        refuse_few_rows(split_rows(frame, BOUNDARY), BOUNDARY, least)
