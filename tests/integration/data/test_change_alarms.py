"""False alarms of the comparison of versions stay at the stated rate, whatever rows share."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from ferryman.data.versions.diff import Version, diff_versions
from ferryman.data.windows.profile import profile_table
from ferryman.profiles.column_profile import merge_profiles, read_profile
from ferryman.spec.data import FeatureSpec

NUMBER, WORD = FeatureSpec(type="number"), FeatureSpec(type="category")
PAIRS = 200
ALPHA = 0.05
# Of 200 pairs at a rate of 5 %, more than this many would be seen once in 1,000 such tests.
ALLOWED = int(stats.binom.ppf(0.999, PAIRS, ALPHA))
Window = dict[str, Any]


def profiled(columns: dict[str, Any]) -> Window:
    table = pa.table(columns)
    specs = {
        field.name: WORD if pa.types.is_string(field.type) else NUMBER for field in table.schema
    }
    return dict(read_profile(profile_table(table, specs)))


def version(windows: list[Window]) -> Version:
    rows = sum(next(iter(window.values())).rows for window in windows)
    return Version("v", rows, windows)


def independent(random: np.random.Generator, rows: int) -> dict[str, Any]:
    columns: dict[str, Any] = {f"n{i}": random.normal(0, 1, rows) for i in range(6)}
    columns["rain"] = np.where(random.random(rows) < 0.93, 0, random.exponential(1, rows))
    columns["hour"] = random.integers(0, 24, rows).astype(float)
    columns["gaps"] = pa.array(random.normal(0, 1, rows), mask=random.random(rows) < 0.2)
    words = np.asarray([f"w{i}" for i in range(30)])
    columns["word"] = pa.array(words[np.minimum(random.zipf(1.5, rows), 30) - 1].tolist())
    return columns


def a_day(random: np.random.Generator, rows: int) -> dict[str, Any]:
    """Rows of one day share its weather: within, they differ a tenth as much as days do."""
    columns: dict[str, Any] = {
        f"n{i}": random.normal(0, 1) + random.normal(0, 0.1, rows) for i in range(6)
    }
    wet = random.random() < 0.3
    columns["rain"] = np.where(wet & (random.random(rows) < 0.5), random.exponential(1, rows), 0)
    share = random.beta(1, 9)
    columns["gaps"] = pa.array(random.normal(0, 1, rows), mask=random.random(rows) < share)
    shares = random.dirichlet([1.0, 1.0, 0.5, 0.2])
    columns["sky"] = pa.array(random.choice(["a", "b", "c", "d"], rows, p=shares).tolist())
    return columns


def alarms(pairs: list[tuple[Version, Version]]) -> int:
    """Pairs with any column beyond chance, however small the effect."""
    return sum(
        bool(diff_versions(before, after, alpha=ALPHA, least_effect=0.0).changed)
        for before, after in pairs
    )


def test_over_independent_rows() -> None:
    random = np.random.default_rng(1)
    pool = [version([profiled(independent(random, 500))]) for _ in range(100)]
    picked = [random.choice(len(pool), 2, replace=False) for _ in range(PAIRS)]
    assert alarms([(pool[one], pool[other]) for one, other in picked]) <= ALLOWED


@pytest.mark.parametrize("days", [5, 12])
def test_over_days_that_are_alike_inside(days: int) -> None:
    random = np.random.default_rng(days)
    pool = [profiled(a_day(random, 60)) for _ in range(25 * days)]
    pairs = []
    for _ in range(PAIRS):
        picked = random.choice(len(pool), 2 * days, replace=False)
        sides = ([pool[day] for day in part] for part in np.split(picked, 2))
        pairs.append(tuple(version(side) for side in sides))
    assert alarms(pairs) <= ALLOWED
    # Taken as independent rows, nearly every pair would be called changed.
    assert alarms([(pooled(a), pooled(b)) for a, b in pairs[:20]]) >= 19


def pooled(one: Version) -> Version:
    """The same rows as a single window."""
    return Version(one.id, one.rows, [merge_profiles(one.windows)])
