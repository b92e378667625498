"""Every damaged delivery is refused, with its own text, and nothing of it becomes visible."""

import datetime as dt
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from damages import DAMAGES
from deliveries import CSV, LINES, PACKED, PARQUET, Damage

from ferryman.data.sources.files_source import FilesSource
from ferryman.errors import DataRejected, ExitCode, FerrymanError, exit_code_of
from ferryman.runtime.memory_object_store import MemoryObjectStore
from ferryman.settings import Settings
from ferryman.spec.loader import load_model
from ferryman.spec.sources import FilesSourceSpec
from ferryman.spec.windows import day_window
from ferryman.steps.journey import Journey

TINY = Path(__file__).parents[2] / "zoo" / "tiny"
DAY = day_window(dt.datetime(2013, 1, 2, tzinfo=dt.UTC))


def ingest(folder: Path, damage: Damage) -> Path:
    """Deliver a file of the model `tiny` and ingest its day; returns the file."""
    shutil.copytree(TINY, folder / "zoo" / "tiny")
    declaration = folder / "zoo" / "tiny" / "model.yaml"
    declared = {"path": f"tiny/{{year}}-{{month}}-{{day}}.{damage.ending}", **damage.declared}
    lines = "".join(f"      {key}: {json.dumps(value)}\n" for key, value in declared.items())
    text = declaration.read_text()
    monthly = "      path: tiny/days_{year}-{month}.csv\n"
    assert monthly in text
    declaration.write_text(text.replace(monthly, lines))
    file = folder / "tiny" / f"2013-01-02.{damage.ending}"
    file.parent.mkdir()
    file.write_bytes(damage.content)
    if damage.manifest is not None:
        manifest = file.with_name(f"{file.name}.manifest.json")
        manifest.write_text(json.dumps(damage.manifest))
    settings = Settings(
        root=folder, home=folder / "home", zoo=folder / "zoo", source_root=folder, cpus=1
    )
    model = load_model(folder / "zoo" / "tiny")
    list(Journey(settings, model).run("ingest", window=DAY, run_id="r"))
    return file


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_refused_with_its_text(tmp_path: Path, name: str) -> None:
    damage = DAMAGES[name]
    with pytest.raises(FerrymanError) as caught:
        ingest(tmp_path, damage)
    assert exit_code_of(caught.value) == ExitCode.DATA
    file = tmp_path / "tiny" / f"2013-01-02.{damage.ending}"
    text = caught.value.text.replace(str(file), "FILE").replace(str(tmp_path), "DIR")
    expected = damage.text.removesuffix("...")
    assert text[: len(expected)] == expected
    assert text == expected or damage.text.endswith("...")
    assert caught.value.remedy.endswith(".")
    assert len(str(caught.value)) < 1_000
    data = tmp_path / "home" / "data"
    assert not [path for path in data.rglob("*") if path.is_file()]


def test_the_good_file_is_taken(tmp_path: Path) -> None:
    ingest(tmp_path, Damage("", CSV))
    assert list((tmp_path / "home" / "data").rglob("*.parquet"))


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "jsonl", "parquet"])
def test_garbled_bytes_never_end_the_process_nor_look_like_a_bug(ending: str) -> None:
    """pyarrow itself aborts on some footers, and hands on texts that are not UTF-8."""
    good = {"csv": CSV, "csv.gz": PACKED, "jsonl": LINES, "parquet": PARQUET}[ending]
    columns = load_model(TINY).spec.data.sources["days"].columns
    spec = FilesSourceSpec.model_validate(
        {"kind": "files", "path": f"x.{ending}", "event_time": "seen", "columns": columns}
    )
    random = np.random.default_rng(11)
    refused = 0
    for _ in range(1_000):
        garbled = bytearray(good)
        for place in random.integers(0, len(good), random.integers(1, 4)):
            garbled[place] = random.integers(0, 256)
        store = MemoryObjectStore()
        store.create(f"x.{ending}", bytes(garbled))
        try:
            FilesSource("days", spec, store).read(DAY, DAY)
        except DataRejected as error:
            refused += 1
            assert len(str(error)) < 1_000
    assert refused > 800
