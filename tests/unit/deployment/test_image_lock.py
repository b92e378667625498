"""The image holds what requirements.txt has at the very same versions and hashes."""

from pathlib import Path

PROJECT = Path(__file__).parents[3]


def locked(name: str) -> dict[str, set[str]]:
    """Each pinned package, with the hashes that its files may have."""
    packages: dict[str, set[str]] = {}
    for line in (PROJECT / name).read_text().splitlines():
        if "==" in line and line[0].isalpha():
            found = packages.setdefault(line.split()[0], set())
        elif "--hash=" in line:
            found.add(line.strip(" \\"))
    return packages


def test_the_lock_of_the_image_is_a_part_of_the_lock() -> None:
    lean, whole = locked("requirements-serving.txt"), locked("requirements.txt")
    assert len(lean) > 20
    assert {name: whole.get(name) for name in lean} == lean


def test_the_lock_of_the_image_is_of_what_it_declares() -> None:
    lines = (PROJECT / "requirements-serving.in").read_text().splitlines()
    declared = {line.split()[0] for line in lines if line and line[0] != "#"}
    assert declared <= {name.split("==")[0] for name in locked("requirements-serving.txt")}
