"""What a column's profiles of days come to beside the profile of before."""

import pyarrow as pa

from ferryman.monitoring.drift_counts import count_column
from ferryman.profiles.profiled_columns import profile_column
from ferryman.spec.data import FeatureSpec

WORDS = FeatureSpec(type="category")
KNOWN = [f"known {number}" for number in range(100)]


def test_known_words_stay_known_beside_many_new_ones() -> None:
    before = profile_column(WORDS, [pa.array(KNOWN * 10)])
    new = [f"new {number}" for number in range(120)]
    days = [profile_column(WORDS, [pa.array(KNOWN + new * 5)], KNOWN) for _ in range(2)]
    counts = count_column(before, days)
    assert counts is not None
    assert counts.new_rows == 2 * 5 * len(new)
    assert set(counts.new_values) <= set(new)
