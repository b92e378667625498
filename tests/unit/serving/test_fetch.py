"""Released bundles come to a server by way of a store, verified, or not at all."""

import json
from pathlib import Path

import pytest

from ferryman.errors import IntegrityBroken, PolicyRefused, SpecError
from ferryman.runtime.bundle import MANIFEST
from ferryman.runtime.bundle_store import RELEASE, ReleasedModel, upload_bundle
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.memory_object_store import MemoryObjectStore
from ferryman.runtime.object_store import ObjectStore
from ferryman.serving.models import fetched_models
from ferryman.serving.models.fetch import fetch_release, main, read_release


@pytest.fixture
def store() -> MemoryObjectStore:
    return MemoryObjectStore()


def released(store: ObjectStore, bundle, epoch: int = 2) -> dict[str, ReleasedModel]:
    key, seal = upload_bundle(store, bundle.folder)
    one = ReleasedModel(version=epoch, epoch=epoch, digest=bundle.digest, bundle=key, seal=seal)
    return {"tiny": one}


def test_what_is_fetched_is_what_was_released(store, make_bundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundles")
    fetch_release(released(store, bundle), store, tmp_path / "root")
    copy = tmp_path / "root" / "models" / "tiny" / bundle.digest
    assert {file.name: file.read_bytes() for file in copy.iterdir()} == {
        file.name: file.read_bytes() for file in bundle.folder.iterdir()
    }
    pointers = json.loads((tmp_path / "root" / "served.json").read_text())
    assert pointers == {"tiny": {"version": 2, "epoch": 2, "digest": bundle.digest}}


def test_a_copy_that_is_in_order_needs_no_store(store, make_bundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundles")
    release = released(store, bundle)
    fetch_release(release, store, tmp_path / "root")
    fetch_release(release, MemoryObjectStore(), tmp_path / "root")
    copy = tmp_path / "root" / "models" / "tiny" / bundle.digest
    (copy / "golden.json").write_text("{}")
    with pytest.raises(IntegrityBroken, match="is not there"):
        fetch_release(release, MemoryObjectStore(), tmp_path / "root")
    fetch_release(release, store, tmp_path / "root")  # a damaged copy is fetched anew
    assert (copy / "golden.json").read_bytes() == (bundle.folder / "golden.json").read_bytes()


@pytest.mark.parametrize("name", ["golden.json", "model.onnx"])
def test_other_bytes_in_the_store_are_refused(store, make_bundle, tmp_path: Path, name) -> None:
    bundle = make_bundle(tmp_path / "bundles")
    release = released(store, bundle)
    key = f"{release['tiny'].bundle}/{name}"
    content = bytearray(store.read(key) or b"")
    content[-1] ^= 1
    store.delete(key)
    store.create(key, bytes(content))
    with pytest.raises(IntegrityBroken, match="digest mismatch"):
        fetch_release(release, store, tmp_path / "root")
    assert not (tmp_path / "root" / "served.json").exists()
    assert not list((tmp_path / "root" / "models" / "tiny").iterdir())


def test_a_manifest_does_not_lead_outside(store, make_bundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundles")
    release = released(store, bundle)
    key = f"{release['tiny'].bundle}/{MANIFEST}"
    manifest = json.loads(store.read(key) or b"")
    manifest["files"]["../../../escaped"] = manifest["files"]["golden.json"]
    store.delete(key)
    store.create(key, json.dumps(manifest).encode())
    with pytest.raises(IntegrityBroken, match="leads outside"):
        fetch_release(release, store, tmp_path / "root")


def test_the_bundle_of_another_model_is_refused(store, make_bundle, tmp_path: Path) -> None:
    release = released(store, make_bundle(tmp_path / "bundles"))
    with pytest.raises(IntegrityBroken, match="a bundle of 'tiny'"):
        fetch_release({"other": release["tiny"]}, store, tmp_path / "root")


def test_an_unsigned_bundle_is_refused_where_a_key_is_configured(
    store, make_bundle, tmp_path: Path
) -> None:
    release = released(store, make_bundle(tmp_path / "bundles"))
    (tmp_path / "signing.pub").write_text("a key")
    with pytest.raises(PolicyRefused):
        fetch_release(release, store, tmp_path / "root", tmp_path / "signing.pub")


def test_an_upload_is_resumed_and_sends_nothing_twice(store, make_bundle, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundles")
    key, _ = upload_bundle(store, bundle.folder)
    store.delete(f"{key}/model.onnx")
    assert upload_bundle(store, bundle.folder) == (key, None)
    assert store.read(f"{key}/model.onnx") == (bundle.folder / "model.onnx").read_bytes()
    assert key == f"tiny/{bundle.digest}"


@pytest.mark.parametrize(
    "text", ["", "[]", '{"tiny": {"version": 1}}', '{"tiny": {"digest": "../x"}}']
)
def test_what_is_no_release_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "release.json").write_text(text)
    with pytest.raises(SpecError, match="is no release"):
        read_release(tmp_path / "release.json")


def test_the_program_fetches_from_a_mounted_folder_and_replays(
    make_bundle, tmp_path: Path, capsys
) -> None:
    bundle = make_bundle(tmp_path / "bundles")
    shelf = LocalObjectStore(tmp_path / "shelf")
    file, root = tmp_path / "release.json", tmp_path / "root"
    file.write_bytes(RELEASE.dump_json(released(shelf, bundle)))
    arguments = ["--release", str(file), "--root", str(root)]
    assert main([*arguments, "--bundles", f"file://{tmp_path / 'shelf'}"]) == 0
    assert fetched_models.main(arguments) == 0
    assert main([*arguments, "--bundles", "ftp://somewhere/else"]) == 2
    copy = root / "models" / "tiny" / bundle.digest
    golden = json.loads((copy / "golden.json").read_text())
    golden["outputs"][0] += 0.5
    (copy / "golden.json").write_text(json.dumps(golden))
    assert fetched_models.main(arguments) == 7
    assert "golden row 0 scores" in capsys.readouterr().err
