"""Great Expectations itself, on small tables."""

from pathlib import Path
from typing import Any

import great_expectations as gx
import pyarrow as pa
import pytest

from ferryman.data.validation.expectation_file import BANNED, legal_names, read_expectations
from ferryman.data.validation.expectations import ExpectationSuite
from ferryman.errors import SpecError

COLUMNS = ["entity_key", "temp", "sky", "count"]
TABLE = pa.table(
    {
        "entity_key": ["a", "b", "c", "d"],
        "temp": [1.0, 2.0, None, 99.0],
        "sky": ["grey", None, "blue", "pink"],
        "count": pa.array([1, 2, 3, None], pa.int64()),
    }
)


def run(folder: Path, text: str, table: Any = TABLE) -> list[Any]:
    file = folder / "expectations.yaml"
    file.write_text(text)
    return ExpectationSuite(file, read_expectations(file, COLUMNS)).run(table)


def test_the_names_are_those_of_the_library() -> None:
    for name in [*legal_names(), *BANNED]:
        assert isinstance(getattr(gx.expectations, name), type)


def test_met_and_failed_expectations(tmp_path: Path) -> None:
    low, null, words, count = run(
        tmp_path,
        """
- {expect: ExpectColumnValuesToBeBetween, column: temp, max_value: 50}
- {expect: ExpectColumnValuesToNotBeNull, column: count}
- {expect: ExpectColumnValuesToBeInSet, column: sky, value_set: [grey, blue, pink]}
- {expect: ExpectTableRowCountToBeBetween, min_value: 10}
""",
    )
    assert [o.success for o in (low, null, words, count)] == [False, False, True, False]
    assert low.explain() == (
        "column 'temp' fails ExpectColumnValuesToBeBetween (line 2): 1 of 4 rows, first d has 99.0"
    )
    assert "1 of 4 rows, first d has" in null.explain()
    assert "the table fails ExpectTableRowCountToBeBetween (line 5): observed 4" in count.explain()


def test_one_suite_serves_several_windows(tmp_path: Path) -> None:
    file = tmp_path / "expectations.yaml"
    file.write_text("- {expect: ExpectColumnValuesToNotBeNull, column: temp}\n")
    suite = ExpectationSuite(file, read_expectations(file, COLUMNS))
    assert [suite.run(TABLE.slice(*part))[0].success for part in ((0, 2), (2, 1), (3, 1))] == [
        True,
        False,
        True,
    ]


def test_first_bad_rows_are_few_and_short(tmp_path: Path) -> None:
    table = pa.table(
        {
            "entity_key": [f"k{n}" for n in range(500)],
            "temp": [1.0] * 500,
            "sky": ["x" * 5_000] * 500,
            "count": [1] * 500,
        }
    )
    text = "- {expect: ExpectColumnValuesToBeInSet, column: sky, value_set: [grey]}"
    (outcome,) = run(tmp_path, text, table)
    assert outcome.unexpected == 500
    assert len(outcome.first_bad) == 3
    assert len(outcome.explain()) < 500


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{expect: ExpectColumnValuesToBeBetween, column: temp, minimum: 1}", "minimum"),
        ("{expect: ExpectColumnValuesToBeBetween, min_value: 1}", "column"),
        ("{expect: ExpectColumnValuesToBeBetween, column: temp, mostly: 7}", "mostly"),
    ],
)
def test_wrong_arguments_have_a_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        run(tmp_path, f"\n- {text}\n")
    assert f"{tmp_path / 'expectations.yaml'}:2: " in caught.value.text
    assert words in caught.value.text


def test_an_expectation_that_cannot_be_computed_fails_with_a_reason(tmp_path: Path) -> None:
    text = "- {expect: ExpectColumnMeanToBeBetween, column: sky, min_value: 0}"
    (outcome,) = run(tmp_path, text)
    assert not outcome.success
    assert outcome.observed
