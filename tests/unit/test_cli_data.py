"""`ferryman data list|show|pin|verify`: what people see of versions, and what is refused."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from test_cli import run_cli

from ferryman.data.versions.snapshots import Snapshot, SnapshotEntry, SnapshotStore
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.spec.windows import day_window

DAY = dt.datetime(2013, 1, 5, tzinfo=dt.UTC)
TIME = pa.timestamp("us", "UTC")


def version(home: Path, value: float) -> Snapshot:
    """A published version of the day."""
    keys: dict[str, Any] = {"entity_key": ["a"], "event_time": pa.array([DAY], TIME)}
    features = pa.table({**keys, "x": [value]})
    store = SnapshotStore(LocalObjectStore(home / "data"))
    window = day_window(DAY)
    entry = SnapshotEntry(reason=f"as of {value} [draft]", actor="tests")
    made = store.write("tiny", window, features, pa.table(keys), entry)
    store.publish("tiny", window, made.id, entry.reason)
    return made


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setenv("COLUMNS", "250")

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run_cli(monkeypatch, tmp_path, *arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_versions_are_listed_shown_pinned_and_released(cli: Any, tmp_path: Path) -> None:
    old, new = version(tmp_path, 1.0), version(tmp_path, 2.0)
    code, text, _ = cli("data", "list", "--model", "tiny")
    assert code == 0
    assert new.id[:16] in text
    assert old.id[:16] not in text
    _, text, _ = cli("data", "list", "--model", "tiny", "--all")
    assert old.id[:16] in text
    assert "superseded" in text
    assert "as of 1.0 [draft]" in text

    pin = ("data", "pin", "--model", "tiny", "audit-2013")
    assert cli(*pin, old.id[:10])[0] == 2, "a reason is needed"
    code, text, _ = cli(*pin, old.id[:10], "--reason", "the auditor", "--hold")
    assert (code, text) == (0, f"audit-2013 is a legal hold on snapshot {old.id}\n")
    assert cli(*pin, new.id, "--reason", "newer")[0] == 9
    _, text, _ = cli("data", "show", "--model", "tiny", "audit-2013")
    shown = json.loads(text)
    assert (shown["id"], shown["pins"][0]["reason"]) == (old.id, "the auditor")
    assert "legal hold" in cli("data", "list", "--model", "tiny")[1]
    assert cli(*pin, "--release", old.id)[0] == 2
    assert cli(*pin, "--release", "--reason", "closed")[:2] == (0, "audit-2013 is released\n")
    assert "audit-2013" not in cli("data", "list", "--model", "tiny", "--all")[1]


@pytest.mark.parametrize("name", ["", "zz", "../x", "f" * 64])
def test_a_version_that_is_not_there(cli: Any, tmp_path: Path, name: str) -> None:
    made = version(tmp_path, 1.0)
    assert cli("data", "show", "--model", "tiny", made.id[:3])[0] == 2
    code, _, text = cli("data", "show", "--model", "tiny", name)
    assert code == 2
    assert "with an id that begins with" in text


def test_verify_names_file_expected_and_got(cli: Any, tmp_path: Path) -> None:
    made = version(tmp_path, 1.0)
    code, text, _ = cli("data", "verify", "--model", "tiny")
    assert code == 0
    assert "1 snapshots" in text
    stored = made.entry.files["features"]
    file = tmp_path / "data" / stored.key
    content = bytearray(file.read_bytes())
    content[30] ^= 1
    file.write_bytes(content)
    for wanted in ((), (made.id,)):
        code, _, text = cli("data", "verify", "--model", "tiny", *wanted)
        assert code == 7
        assert f"digest mismatch: {file.as_uri()}: expected {stored.sha256}, got " in text
    file.unlink()
    code, _, text = cli("data", "verify", "--model", "tiny", made.id[:8])
    assert code == 7
    assert "got no file" in text
    (tmp_path / "data" / "tiny" / "windows" / "20130105T0000Z" / "1.json").write_text("{}")
    assert "2 differences" in cli("data", "verify", "--model", "tiny")[2]
