"""Declarations: the good ones load, each bad one is told where and what."""

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.catalog import load_catalog
from ferryman.errors import SpecError
from ferryman.spec.durations import format_duration, parse_duration
from ferryman.spec.loader import folder_digest, load_model
from ferryman.spec.schema import schema_file, schema_text
from ferryman.spec.windows import Window
from ferryman.spec.yaml_file import DeclarationError

TESTS = Path(__file__).parents[2]
TINY = TESTS / "zoo" / "tiny"
INVALID = sorted((TESTS / "invalid_specs").glob("*.yaml"))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "zoo" / "tiny"))


def test_every_declared_model_of_the_zoo_loads() -> None:
    catalog = load_catalog(TESTS.parent / "include" / "model_zoo")
    assert catalog.errors == {}
    assert "flights" in catalog.models


@pytest.mark.parametrize("file", INVALID, ids=lambda file: file.stem)
def test_a_mistake_is_told_with_its_file_and_line(file: Path, tiny: Path) -> None:
    text = file.read_text()
    expected = text.splitlines()[0].removeprefix("# expect: ")
    target = tiny / "model.yaml"
    target.write_text(text)
    with pytest.raises(DeclarationError) as caught:
        load_model(target)
    assert caught.value.exit_code == 2
    assert expected in caught.value.text
    for line in caught.value.text.splitlines():
        assert re.match(rf"{re.escape(str(target))}:\d+: ", line)


def test_the_line_is_the_line_of_the_key(tiny: Path) -> None:
    target = tiny / "model.yaml"
    target.write_text(target.read_text().replace("  min_rows: 20", "  min_row: 20"))
    line = target.read_text().splitlines().index("  min_row: 20") + 1
    with pytest.raises(DeclarationError, match=rf"model.yaml:{line}: .*did you mean 'min_rows'"):
        load_model(tiny)


def test_a_wrong_declaration_takes_away_only_itself(tiny: Path) -> None:
    shutil.copytree(tiny, tiny.parent / "other")
    broken = tiny.parent / "other" / "model.yaml"
    broken.write_text("name: [")
    catalog = load_catalog(tiny.parent)
    assert set(catalog.models) == {"tiny"}
    assert "model.yaml:1" in catalog.errors["other"]
    with pytest.raises(SpecError, match="not YAML"):
        catalog.get("other")
    with pytest.raises(SpecError, match="did you mean 'tiny'"):
        catalog.get("tinny")


def test_the_committed_schema_is_the_code_s_schema() -> None:
    for kind in ("model", "servers"):
        text = schema_file(kind).read_text()
        assert text == schema_text(kind), "run: python -m ferryman.spec.schema"


def test_the_digest_follows_every_file_of_the_folder(tiny: Path) -> None:
    before = folder_digest(tiny)
    (tiny / "__pycache__").mkdir()
    (tiny / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert folder_digest(tiny) == before
    with (tiny / "features.sql").open("a") as stream:
        stream.write("-- changed\n")
    assert folder_digest(tiny) != before


@given(st.integers(min_value=1, max_value=10_000), st.sampled_from("smhd"))
def test_durations_are_read_back_as_written(count: int, unit: str) -> None:
    value = parse_duration(f"{count}{unit}")
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize("text", ["7", "d", "0d", "-1d", "7 d", "7d\n", "1w", "", 7, None])
def test_other_forms_of_durations_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_windows_are_utc_half_open_days() -> None:
    start = datetime(2013, 2, 27, tzinfo=UTC)
    window = Window(start=start, end=start + timedelta(days=3))
    assert [day.key for day in window.days()] == [
        "20130227T0000Z",
        "20130228T0000Z",
        "20130301T0000Z",
    ]
    with pytest.raises(ValueError, match="empty"):
        Window(start=start, end=start)
    with pytest.raises(ValueError, match="timezone"):
        Window(start=datetime(2013, 1, 1), end=start)
    with pytest.raises(ValueError, match="midnight"):
        list(Window(start=start, end=start + timedelta(hours=30)).days())
