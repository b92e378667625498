"""A suggested suite, read back and run by Great Expectations itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from ferryman.data.validation.expectation_file import read_expectations
from ferryman.data.validation.expectations import ExpectationSuite
from ferryman.data.validation.suggestion import suggest_expectations
from ferryman.data.windows.profile import profile_table
from ferryman.profiles.column_profile import read_profile
from ferryman.spec.data import FeatureSpec

COLUMNS = {
    "temp": FeatureSpec(type="number"),
    "gust": FeatureSpec(type="number"),
    "minute": FeatureSpec(type="integer"),
    "huge": FeatureSpec(type="number"),
    "never": FeatureSpec(type="number"),
    "steady": FeatureSpec(type="number"),
    "sky": FeatureSpec(type="category"),
    "rare": FeatureSpec(type="category"),
    "plane": FeatureSpec(type="category"),
}


def window(seed: int, rows: int = 300) -> pa.Table:
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "entity_key": [f"k{number}" for number in range(rows)],
            "temp": random.normal(10, 5, rows),
            "gust": pa.array(random.exponential(3, rows), mask=random.random(rows) < 0.1),
            "minute": np.append(random.integers(0, 1440, rows - 1), 0),
            "huge": random.choice([-1e300, 1e300, 0.1], rows),
            "never": pa.nulls(rows, pa.float64()),
            "steady": np.full(rows, 0.3),
            "sky": random.choice(["clear", 'it\'s: {grey}, "wet"', "no", "1"], rows),
            "rare": ["common"] * (rows - 2) + [f"rare {seed % 7}", "common"],
            "plane": [f"N{n}" for n in random.integers(0, 9_999, rows)],
        }
    )


WINDOWS = [window(seed, rows=200 + 40 * seed) for seed in range(5)]


@pytest.fixture(scope="module")
def suggested() -> str:
    profiles = [read_profile(profile_table(table, COLUMNS)) for table in WINDOWS]
    return suggest_expectations("flights", [table.num_rows for table in WINDOWS], profiles)


def run(folder: Path, text: str, tables: list[Any]) -> list[list[Any]]:
    file = folder / "expectations.yaml"
    file.write_text(text)
    suite = ExpectationSuite(file, read_expectations(file, ["entity_key", *COLUMNS]))
    return [suite.run(table) for table in tables]


def test_it_passes_on_its_own_windows_and_on_the_next(suggested: str, tmp_path: Path) -> None:
    for outcomes in run(tmp_path, suggested, [*WINDOWS, window(99)]):
        assert [one.explain() for one in outcomes if not one.success] == []


def test_each_planted_fault_fails_its_own_column(suggested: str, tmp_path: Path) -> None:
    good = window(50)

    def put(name: str, values: Any) -> Any:
        return good.set_column(good.column_names.index(name), name, pa.array(values))

    rows = good.num_rows
    planted = {
        "temp": put("temp", np.full(rows, 451.0)),
        "gust": put("gust", [None] * (rows // 2) + [1.0] * (rows // 2)),
        "minute": put("minute", [-1] + [5] * (rows - 1)),
        "steady": put("steady", [3.0] * rows),
        "sky": put("sky", ["purple"] + ["no"] * (rows - 1)),
        "rare": put("rare", ["other"] * 10 + ["common"] * (rows - 10)),
        "plane": put("plane", [None] + ["N1"] * (rows - 1)),
        None: good.slice(0, 20),
    }
    for (column, _), outcomes in zip(
        planted.items(), run(tmp_path, suggested, list(planted.values())), strict=True
    ):
        failed = {one.column for one in outcomes if not one.success}
        assert failed == {column}


def test_it_says_what_was_measured(suggested: str) -> None:
    read = yaml.safe_load(suggested)
    assert read[0] == {
        "expect": "ExpectTableRowCountToBeBetween",
        "min_value": 100,
        "max_value": 720,
    }
    assert "# never: never had a value (1400 rows); nothing is expected of it." in suggested
    assert "# temp: never null in 1400 rows." in suggested
    assert "values, most often" in suggested
    assert "no set." in suggested
    (gust,) = [one for one in read if one["column" if "column" in one else "expect"] == "gust"][:1]
    assert 0.6 < gust["mostly"] < 0.9
    minute = next(one for one in read if one.get("column") == "minute" and "min_value" in one)
    assert minute["min_value"] == 0
    assert isinstance(minute["max_value"], int)
