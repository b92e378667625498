"""Nothing is installed that is not pinned by its hash; scratch is for its owner alone."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.txt", "requirements-serving.txt", "requirements-bootstrap.txt")
# Folders of mode 0700 and files of mode 0600; what `mktemp` names, anybody may make first.
SCRATCH = {"TemporaryDirectory", "mkdtemp", "mkstemp", "TemporaryFile", "gettempdir"}


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_pinned_by_its_hash(name: str) -> None:
    text = (ROOT / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and line.strip()[0] != "#"]
    assert lines
    for line in lines:
        assert re.fullmatch(r"[\w.\[\],-]+==\S+.* --hash=sha256:[0-9a-f]{64}.*", line), line


def test_whoever_installs_asks_for_the_hashes() -> None:
    for name in ("Makefile", "Dockerfile"):
        text = (ROOT / name).read_text().replace("\\\n", " ")
        installs = [
            line for line in text.splitlines() if re.search(r"\bpip install\b|bin/pip\"", line)
        ]
        assert installs, name
        assert all("--require-hashes" in line or "--no-deps" in line for line in installs), installs


def test_scratch_is_made_for_its_owner_alone() -> None:
    files = [
        file for room in ("include", "plugins", "dags") for file in (ROOT / room).rglob("*.py")
    ]
    made = set()
    for file in files:
        text = file.read_text()
        for node in ast.walk(ast.parse(text)) if "tempfile" in text else ():
            if isinstance(node, ast.ImportFrom):
                assert node.module != "tempfile", f"{file}: name the module where it is used"
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "tempfile":
                assert node.attr in SCRATCH, f"{file}:{node.lineno}"
                made.add(node.attr)
    assert made
