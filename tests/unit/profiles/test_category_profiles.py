"""Categories: exact while few, bounded where rare ones were folded away, whatever the order."""

from collections import Counter

import numpy as np
import pytest

from ferryman.profiles.category_profile import (
    CategoryCounter,
    CategoryProfile,
    merge_categories,
    read_category,
)


def profile(words: list[str], nulls: int = 0) -> CategoryProfile:
    counter = CategoryCounter()
    counted = Counter(words)
    counter.add(list(counted), list(counted.values()), nulls)
    return read_category(counter.profile().as_json())


def zipf(seed: int, rows: int, values: int) -> list[str]:
    random = np.random.default_rng(seed)
    return [f"w{n}" for n in np.minimum(random.zipf(1.3, rows), values)]


def test_few_values_merge_exactly() -> None:
    words = zipf(1, 5_000, 100)
    parts = [profile(words[at : at + 500], nulls=3) for at in range(0, 5_000, 500)]
    merged = merge_categories(parts)
    assert merged.top == Counter(words)
    assert (merged.count, merged.nulls, merged.other, merged.folded) == (5_000, 30, 0, 0)
    assert merged.distinct == len(set(words))


def test_many_values_are_known_within_the_stated_bound() -> None:
    words = zipf(2, 40_000, 3_000)
    true = Counter(words)
    merged = merge_categories([profile(words[at : at + 4_000]) for at in range(0, 40_000, 4_000)])
    assert sum(merged.top.values()) + merged.other == merged.count == 40_000
    for word, rows in merged.top.items():
        assert rows <= true[word] <= rows + merged.folded
    assert max(true[word] for word in true if word not in merged.top) <= merged.folded
    assert dict(true.most_common(10)) == dict(list(merged.top.items())[:10])
    assert merged.distinct == pytest.approx(len(true), rel=0.4)


def test_a_stream_of_ever_new_values_keeps_its_memory() -> None:
    counter = CategoryCounter()
    for start in range(0, 90_000, 10_000):
        counter.add(
            ["often", *(f"id{n}" for n in range(start, start + 10_000))], [500, *[1] * 10_000]
        )
    found = counter.profile()
    assert next(iter(found.top.items())) == ("often", 4_500)
    assert found.count == 94_500
    assert found.distinct == pytest.approx(90_001, rel=0.4)


def test_the_order_of_rows_does_not_matter() -> None:
    words = zipf(3, 3_000, 1_000)
    assert profile(words).as_json() == profile(words[::-1]).as_json()
