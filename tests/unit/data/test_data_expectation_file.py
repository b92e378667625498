"""expectations.yaml is read without Great Expectations; mistakes have a file and a line."""

from pathlib import Path

import pytest

from ferryman.data.validation.expectation_file import legal_names, read_expectations
from ferryman.errors import SpecError

COLUMNS = ["entity_key", "temp", "origin"]


def read(folder: Path, text: str) -> list[tuple[str, dict[str, object], int]]:
    file = folder / "expectations.yaml"
    file.write_text(text)
    return [(e.name, e.arguments, e.line) for e in read_expectations(file, COLUMNS)]


def test_a_good_file(tmp_path: Path) -> None:
    text = """# comment
- expect: ExpectColumnValuesToBeBetween
  column: temp
  min_value: -40
- {expect: ExpectTableRowCountToBeBetween, max_value: 10}
"""
    assert read(tmp_path, text) == [
        ("ExpectColumnValuesToBeBetween", {"column": "temp", "min_value": -40}, 2),
        ("ExpectTableRowCountToBeBetween", {"max_value": 10}, 5),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "- expect: ExpectColumnValuesToBeBetwen\n  column: temp\n",
            "ToBeBetwen'; did you mean 'ExpectColumnValuesToBeBetween'?",
        ),
        ("\n- column: temp\n", ":2: key 'expect' is missing"),
        (
            "- expect: ExpectColumnToExist\n  column: tmp\n",
            ":2: the features have no column 'tmp'; did you mean 'temp'?",
        ),
        (
            "- expect: ExpectColumnQuantileValuesToBeBetween\n  column: temp\n",
            ":1: ExpectColumnQuantileValuesToBeBetween is not used here",
        ),
        (
            "- expect: ExpectColumnToExist\n  column: temp\n  column: origin\n",
            ":3: key 'column' stands twice",
        ),
        ("expect: ExpectColumnToExist\n", ":1: the file holds no list"),
        ("- ExpectColumnToExist\n", ":1: an expectation is a mapping"),
        ("- expect: [\n", "not YAML"),
        ("- &a {expect: ExpectColumnToExist, column: temp}\n- *a\n", "aliases"),
        ("- expect: !!python/object/apply:os.system [ls]\n", ":1: "),
        ("- expect: __class__\n", "no expectation '__class__'"),
        ("", "no list"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, text)
    assert words in caught.value.text
    assert str(tmp_path / "expectations.yaml") in caught.value.text


def test_an_empty_list_expects_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "[]\n") == []


def test_names_come_without_an_import_of_the_library() -> None:
    names = legal_names()
    assert "ExpectColumnValuesToNotBeNull" in names
    assert "ExpectColumnQuantileValuesToBeBetween" not in names
    assert len(names) > 40
