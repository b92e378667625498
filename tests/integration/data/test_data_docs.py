"""Data Docs of a validation: what failed can be read without a script, a network or a leak."""

import re
from pathlib import Path

import pyarrow as pa
import pytest

from ferryman.data.validation.data_docs import MOST_PAGES, WindowDocs, chosen, write_data_docs
from ferryman.data.validation.expectation_file import read_expectations
from ferryman.data.validation.expectations import ExpectationSuite
from ferryman.errors import DataRejected

EXPECTATIONS = """
- {expect: ExpectColumnValuesToBeBetween, column: temp, max_value: 50}
- {expect: ExpectColumnValuesToNotBeNull, column: temp, mostly: 0.5}
- {expect: ExpectColumnValuesToBeInSet, column: sky, value_set: [grey], mostly: 0.9}
- {expect: ExpectColumnDistinctValuesToBeInSet, column: sky, value_set: [grey]}
- {expect: ExpectColumnMeanToBeBetween, column: sky, min_value: 0}
- {expect: ExpectColumnMeanToBeBetween, column: temp, min_value: 0}
- {expect: ExpectTableRowCountToBeBetween, min_value: 10}
"""
NASTY = "<script>alert(1)</script>"
BAD = pa.table(
    {
        "entity_key": ["<b>one</b>", "two", "three", "four", "five"],
        "temp": [99.5, 1.0, None, 77.0, 88.0],
        "sky": ["grey", NASTY, "secret-" + "x" * 5_000, "{{ 7 * 7 }}", "=cmd()"],
    }
)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> ExpectationSuite:
    file = tmp_path_factory.mktemp("suite") / "expectations.yaml"
    file.write_text(EXPECTATIONS)
    return ExpectationSuite(file, read_expectations(file, BAD.column_names))


def test_a_page_shows_column_count_and_rows_of_what_failed(
    suite: ExpectationSuite, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = write_data_docs(tmp_path, "rain", [WindowDocs("2024-01-01", suite.validate(BAD))])
    page = (tmp_path / "2024-01-01.html").read_text()
    for words in ("ExpectColumnValuesToBeBetween (line 2)", "3 of 5 rows", "four: 77.0"):
        assert words in page
    assert "&lt;b&gt;one&lt;/b&gt;: 99.5" in page
    assert "values must be less than or equal to" in page  # the library's own words
    assert "observed 5" in page
    assert 'href="2024-01-01.html"' in index.read_text()
    assert "unexpected Exception occurred" not in caplog.text
    assert {file.name for file in tmp_path.iterdir()} == {"index.html", "2024-01-01.html"}


def test_values_stay_data_and_short_and_nothing_is_loaded_from_elsewhere(
    suite: ExpectationSuite, tmp_path: Path
) -> None:
    write_data_docs(tmp_path, "rain", [WindowDocs("2024-01-01", suite.validate(BAD))])
    for file in tmp_path.iterdir():
        text = file.read_text()
        assert "<script" not in text
        assert "://" not in text
        assert "x" * 100 not in text
        assert len(text) < 60_000
    page = (tmp_path / "2024-01-01.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert "<b>one" not in page
    assert "Traceback" not in page


def test_a_page_shows_no_value_that_the_error_does_not(
    suite: ExpectationSuite, tmp_path: Path
) -> None:
    table = pa.table(
        {
            "entity_key": [f"k{n}" for n in range(20)],
            "temp": [float(n) for n in range(20)],
            "sky": [f"person-{n}" for n in range(20)],
        }
    )
    validation = suite.validate(table)
    write_data_docs(tmp_path, "rain", [WindowDocs("2024-01-01", validation)])
    told = " ".join(outcome.explain() for outcome in validation.outcomes)
    page = (tmp_path / "2024-01-01.html").read_text()
    named = re.compile(r"person-(\d+)")
    assert set(named.findall(page)) == set(named.findall(told)) == {"0", "1", "2", "10"}


def test_of_many_windows_those_that_failed_and_the_newest_have_pages(tmp_path: Path) -> None:
    file = tmp_path / "expectations.yaml"
    file.write_text("- {expect: ExpectColumnValuesToBeBetween, column: temp, max_value: 50}\n")
    suite = ExpectationSuite(file, read_expectations(file, BAD.column_names))
    good = pa.table({"entity_key": ["a"] * 12, "temp": [1.0] * 12, "sky": ["grey"] * 12})
    lone = suite.validate(BAD)
    days = [WindowDocs(f"2024-01-{day:02}", suite.validate(good)) for day in range(2, 12)]
    windows = [WindowDocs("2024-01-01", lone), *days]
    names = [window.name for window in chosen(windows)]
    assert names[0] == "2024-01-01"
    assert names[1:3] == ["2024-01-11", "2024-01-10"]
    assert len(names) == MOST_PAGES
    index = write_data_docs(tmp_path / "docs", "rain", windows).read_text()
    assert len(list((tmp_path / "docs").glob("2024-*.html"))) == MOST_PAGES
    assert index.count("<tr>") == len(windows) + 1


def test_a_failed_validation_leaves_its_docs_in_the_run(begun) -> None:  # type: ignore[no-untyped-def]
    file = begun.folder / "expectations.yaml"
    file.write_text("- {expect: ExpectColumnValuesToBeBetween, column: distance, max_value: 100}\n")
    with pytest.raises(DataRejected) as caught:
        begun.run("ingest", "2013-01-02", run_id="bad")
    assert "column 'distance' fails ExpectColumnValuesToBeBetween (line 1)" in caught.value.text
    [folder] = (begun.settings.runs_root / "flights" / "ingest").glob("bad-*")
    page = (folder / "validate" / "data_docs" / "2013-01-02.html").read_text()
    first = caught.value.text.partition("first ")[2].partition(" has ")[0]
    assert first in page
