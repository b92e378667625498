"""`ferryman labels`: the token is made once, a file of labels is posted."""

import json
from pathlib import Path
from typing import Any

import pytest
from services.command import Command


@pytest.fixture
def ferryman(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Command:
    monkeypatch.setenv("FERRYMAN_HOME", str(tmp_path / "home0"))
    return Command(capsys, monkeypatch)


def test_the_token_is_made_once(ferryman: Command, tmp_path: Path) -> None:
    first = ferryman("labels", "token")
    assert len(first.strip()) >= 32
    assert ferryman("labels", "token") == first
    file = tmp_path / "home0" / "serving" / "labels.token"
    assert file.stat().st_mode & 0o777 == 0o600


def test_pods_whose_log_ends_with_them_get_no_token(
    ferryman: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods = {"image": f"registry.example/f@sha256:{'a' * 64}", "bundles": "lake"}
    declared = {"spec_version": 1, "servers": {"pods": {"place": "kubernetes", "kubernetes": pods}}}
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "servers.yaml").write_text(json.dumps(declared))
    monkeypatch.setenv("FERRYMAN_ZOO", str(tmp_path / "zoo"))
    refused = ferryman("labels", "token", "--server", "pods", code=2)
    assert "pods of server 'pods' take no labels: their log ends with them" in refused
    assert not list((tmp_path / "home0").rglob("labels.*"))
    monkeypatch.setenv("FERRYMAN_PREDICTIONS_CONNECTION", "lake")
    assert len(ferryman("labels", "token", "--server", "pods").strip()) >= 32


def test_a_file_of_labels_is_posted(
    ferryman: Command, start_server: Any, make_bundle: Any, rain: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    server = start_server(replicas=1)
    server.load(make_bundle(server.settings.bundles_root), 1)
    monkeypatch.setenv("FERRYMAN_SERVING_PORT", str(server.endpoint.port))
    monkeypatch.setenv("FERRYMAN_SERVING_ADMIN_PORT", str(server.endpoint.admin_port))
    folder = tmp_path / "zoo" / "tiny"
    rain.folder.parent.mkdir(exist_ok=True)
    folder.parent.mkdir(exist_ok=True)
    rain.folder.rename(folder)
    text = (folder / "model.yaml").read_text().replace("name: rain\n", "name: tiny\n", 1)
    (folder / "model.yaml").write_text(text)
    monkeypatch.setenv("FERRYMAN_ZOO", str(folder.parent))
    file = tmp_path / "labels.csv"
    file.write_text("entity_key,label,event_time\na,true,2026-01-02T03:04:05Z\nb,0,\nc,,\n")
    assert "3 labels of tiny accepted" in ferryman("labels", "post", "-m", "tiny", str(file))
    file.write_text("entity_key,label\na,1\nb,maybe\n")
    said = ferryman("labels", "post", "-m", "tiny", str(file), code=3)
    assert "row 1, field label: must be true, false, 1, 0 or null" in said
