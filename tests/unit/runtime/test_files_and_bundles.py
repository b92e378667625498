"""Files are whole or absent; bundles are what they were when sealed."""

import errno
from pathlib import Path

import pytest

from ferryman.errors import DependencyUnavailable, IntegrityBroken
from ferryman.runtime.bundle import MANIFEST, seal, verify
from ferryman.runtime.files import created_once, read_json, resolve_inside, write_atomic, write_json


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch) -> None:
    target = tmp_path / "pointer.json"
    write_json(target, {"epoch": 1})

    def full(self: Path, other: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DependencyUnavailable, match="no space left"):
        write_json(target, {"epoch": 2})
    assert read_json(target) == {"epoch": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["pointer.json"]


def test_a_folder_is_created_once_and_never_half(tmp_path: Path) -> None:
    target = tmp_path / "store" / "abc"
    with pytest.raises(RuntimeError, match="killed"), created_once(target) as scratch:
        (scratch / "a").write_text("half")
        raise RuntimeError("killed")
    assert list((tmp_path / "store").iterdir()) == []
    for text in ("first", "second"):
        with created_once(target) as scratch:
            (scratch / "a").write_text(text)
    assert (target / "a").read_text() == "first"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "link/x"])
def test_paths_stay_inside_their_root(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="leads outside"):
        resolve_inside(root, name)
    assert resolve_inside(root, "a/b") == root.resolve() / "a" / "b"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"weights")
    (folder / "signature.json").write_text("{}")
    seal(folder, model="tiny", task="binary", framework="sklearn")
    return folder


def test_a_sealed_bundle_verifies_and_its_digest_is_its_content(bundle: Path) -> None:
    digest = verify(bundle).digest
    assert verify(bundle, digest=digest).model == "tiny"
    with pytest.raises(IntegrityBroken, match="expected 00"):
        verify(bundle, digest="00" * 32)


def test_a_flipped_byte_is_found_and_named(bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"weightz")
    with pytest.raises(IntegrityBroken, match=r"digest mismatch: .*model\.onnx: expected .* got"):
        verify(bundle)


def test_an_added_or_a_removed_file_is_found(bundle: Path) -> None:
    (bundle / "extra.py").write_text("")
    with pytest.raises(IntegrityBroken, match=r"extra\.py"):
        verify(bundle)
    (bundle / "extra.py").unlink()
    (bundle / "signature.json").unlink()
    with pytest.raises(IntegrityBroken, match=r"signature\.json"):
        verify(bundle)


def test_a_rewritten_manifest_does_not_hide_a_changed_file(bundle: Path) -> None:
    digest = verify(bundle).digest
    (bundle / "model.onnx").write_bytes(b"other")
    seal(bundle, model="tiny", task="binary", framework="sklearn")
    with pytest.raises(IntegrityBroken, match="digest mismatch"):
        verify(bundle, digest=digest)
    write_atomic(bundle / MANIFEST, b"{not json")
    with pytest.raises(IntegrityBroken, match="no readable"):
        verify(bundle)
