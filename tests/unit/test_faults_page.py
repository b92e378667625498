"""docs/faults.md tells of every fault that it must, and of no test that does not exist."""

import ast
import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "faults.md"
FAULTS = {*map(str, range(1, 51)), *(f"S{number}" for number in range(1, 18))}


def _rows() -> dict[str, str]:
    found = re.findall(r"^\| (S?[0-9]+) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert len(found) == len(dict(found))
    return dict(found)


@cache
def _tests_of(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_fault_has_its_row() -> None:
    assert _rows().keys() == FAULTS


def test_every_row_names_tests_that_exist() -> None:
    for fault, row in _rows().items():
        shown = row.rpartition(" | ")[2]
        named = re.findall(r"`([^`]+)`", shown)
        assert named, fault
        assert " ".join(f"`{name}`" for name in named) == shown, fault
        for name in named:
            file, _, test = name.partition("::")
            assert (TESTS / file).is_file(), f"{fault}: {file}"
            assert test.startswith("test_") and test in _tests_of(TESTS / file), f"{fault}: {name}"
