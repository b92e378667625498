"""Models are swapped whole, forward only, and only when every byte and answer is as recorded."""

import json
import shutil
from pathlib import Path

import pytest
from served_here import ServedHere

from ferryman.errors import IntegrityBroken, SpecError, Superseded
from ferryman.runtime.bundle import GOLDEN, ONNX, seal
from ferryman.serving.models.served_models import Pointer, ServedModels


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    return tmp_path / "bundles"


@pytest.fixture
def served(tmp_path: Path, bundles: Path) -> ServedModels:
    models = ServedHere(tmp_path / "serving", bundles)
    models.restore()
    return models


def pointer(digest: str, epoch: int = 1) -> Pointer:
    return Pointer(version=epoch, epoch=epoch, digest=digest)


def test_load_then_restart_without_the_bundle(
    served: ServedModels, tmp_path: Path, bundles: Path, make_bundle
) -> None:
    bundle = make_bundle(bundles)
    assert served.is_ready  # nothing is remembered, so nothing is missing
    assert served.load("tiny", pointer(bundle.digest), str(bundle.folder))
    assert not served.load("tiny", pointer(bundle.digest), str(bundle.folder))
    shutil.rmtree(bundles)
    again = ServedHere(tmp_path / "serving", bundles)
    assert not again.is_ready
    again.restore()
    model = again.get("tiny")
    assert again.is_ready and model is not None
    scores = model.score(model.schema.read_rows(bundle.rows))
    assert scores == pytest.approx(bundle.outputs, abs=1e-5)


def test_epochs_only_rise(served: ServedModels, bundles: Path, make_bundle) -> None:
    first, second = make_bundle(bundles), make_bundle(bundles, 10.0)
    served.load("tiny", pointer(first.digest, 5), str(first.folder))
    for epoch in (4, 5):
        with pytest.raises(Superseded, match="epoch 5"):
            served.load("tiny", pointer(second.digest, epoch), str(second.folder))
    with pytest.raises(Superseded):
        served.load("tiny", Pointer(version=9, epoch=5, digest=first.digest), str(first.folder))
    assert served.remembered["tiny"] == pointer(first.digest, 5)
    served.load("tiny", pointer(second.digest, 6), str(second.folder))
    model = served.get("tiny")
    assert model is not None and model.identity.epoch == 6


@pytest.mark.parametrize("file", [ONNX, GOLDEN, "signature.json"])
def test_a_flipped_byte_is_refused_and_nothing_changes(
    served: ServedModels, bundles: Path, make_bundle, file: str
) -> None:
    good, bad = make_bundle(bundles), make_bundle(bundles, 10.0)
    served.load("tiny", pointer(good.digest), str(good.folder))
    target = bad.folder / file
    content = bytearray(target.read_bytes())
    content[len(content) // 2] ^= 1
    target.write_bytes(content)
    with pytest.raises(IntegrityBroken, match="digest mismatch"):
        served.load("tiny", pointer(bad.digest, 2), str(bad.folder))
    with pytest.raises(IntegrityBroken, match="digest mismatch"):
        served.check("tiny", str(bad.folder), bad.digest)
    assert served.remembered == {"tiny": pointer(good.digest)}


def test_wrong_golden_answers_are_refused(served: ServedModels, bundles: Path, make_bundle) -> None:
    bundle = make_bundle(bundles)
    golden = json.loads((bundle.folder / GOLDEN).read_text())
    golden["outputs"][3] += 0.001
    (bundle.folder / GOLDEN).write_text(json.dumps(golden))
    digest = seal(bundle.folder, model="tiny", task="binary", framework="sklearn").digest
    with pytest.raises(IntegrityBroken, match="golden row 3"):
        served.load("tiny", pointer(digest), str(bundle.folder))
    assert served.get("tiny") is None and served.remembered == {}


def test_only_bundles_of_the_model_below_the_root(
    served: ServedModels, tmp_path: Path, bundles: Path, make_bundle
) -> None:
    bundle = make_bundle(bundles)
    with pytest.raises(IntegrityBroken, match="another model"):
        served.check("other", str(bundle.folder), bundle.digest)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(bundle.folder, elsewhere)
    (bundles / "link").symlink_to(elsewhere)
    for place in (str(elsewhere), "../elsewhere", str(bundles / "link"), "/etc"):
        with pytest.raises(SpecError, match="not below"):
            served.check("tiny", place, bundle.digest)


def test_a_home_that_was_moved_needs_a_link_at_its_old_place(tmp_path: Path, make_bundle) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    bundle = make_bundle(old / "bundles")
    old.rename(new)
    served = ServedHere(new / "serving", new / "bundles")
    served.restore()
    with pytest.raises(SpecError, match="not below") as refused:
        served.load("tiny", pointer(bundle.digest), str(bundle.folder))
    link = f"it was made in {old}: leave a link there (ln -s {new} {old})"
    assert refused.value.text.endswith(f"of this server; {link}")
    with pytest.raises(SpecError, match="not below") as refused:
        served.load("tiny", pointer(bundle.digest), f"{old}/bundles/tiny/{64 * '0'}")
    assert refused.value.text.endswith("of this server")
    old.symlink_to(new)
    assert served.load("tiny", pointer(bundle.digest), str(bundle.folder))


def test_check_changes_nothing(served: ServedModels, bundles: Path, make_bundle) -> None:
    bundle = make_bundle(bundles)
    served.check("tiny", str(bundle.folder), bundle.digest)
    assert served.get("tiny") is None and served.remembered == {} and served.loaded == []


def test_a_damaged_copy_is_not_served_and_is_mended_by_a_load(
    served: ServedModels, tmp_path: Path, bundles: Path, make_bundle
) -> None:
    bundle = make_bundle(bundles)
    served.load("tiny", pointer(bundle.digest), str(bundle.folder))
    copy = tmp_path / "serving" / "models" / "tiny" / bundle.digest / ONNX
    copy.write_bytes(copy.read_bytes()[:-1])
    again = ServedHere(tmp_path / "serving", bundles)
    again.restore()
    assert not again.is_ready and "digest mismatch" in again.problems["tiny"]
    assert again.load("tiny", pointer(bundle.digest), str(bundle.folder))
    assert again.is_ready and again.problems == {}


def test_unreadable_pointers_are_named(tmp_path: Path, bundles: Path) -> None:
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving" / "served.json").write_text('{"tiny": {"epoch": 0}}')
    with pytest.raises(IntegrityBroken, match=r"served\.json"):
        ServedHere(tmp_path / "serving", bundles).restore()
