"""Signed bundles: who may vouch, what is covered, and that others can check it."""

import json
import shutil
import subprocess
import sys
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from small_bundles import BundleMaker, SmallBundle

from ferryman.errors import DependencyUnavailable, IntegrityBroken, PolicyRefused
from ferryman.runtime.bundle import GOLDEN, MANIFEST, SEAL, seal, verify
from ferryman.runtime.bundle_signing import sign_bundle, verify_signed


def write_keys(folder: Path, name: str, key: ec.EllipticCurvePrivateKey | None = None) -> Path:
    """<name>.pem and <name>.pub; the path of the private one."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    file = folder / f"{name}.pem"
    file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    file.with_suffix(".pub").write_bytes(public)
    return file


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return write_keys(tmp_path, "house")


@pytest.fixture
def bundle(make_bundle: BundleMaker, tmp_path: Path) -> SmallBundle:
    return make_bundle(tmp_path / "bundles")


def test_signed_bundle_is_accepted_and_keeps_its_digest(bundle: SmallBundle, key: Path) -> None:
    sign_bundle(bundle.folder, key)
    manifest = verify_signed(
        bundle.folder, digest=bundle.digest, public_key=key.with_suffix(".pub")
    )
    assert manifest == verify(bundle.folder, digest=bundle.digest)
    assert SEAL not in manifest.files
    before = (bundle.folder / SEAL).read_bytes()
    sign_bundle(bundle.folder, key)
    assert (bundle.folder / SEAL).read_bytes() == before


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_other_curves(bundle: SmallBundle, tmp_path: Path, curve: ec.EllipticCurve) -> None:
    key = write_keys(tmp_path, "large", ec.generate_private_key(curve))
    sign_bundle(bundle.folder, key)
    verify_signed(bundle.folder, public_key=key.with_suffix(".pub"))


def test_anybody_can_check_it_with_the_standard_tool(
    bundle: SmallBundle, key: Path, tmp_path: Path
) -> None:
    sign_bundle(bundle.folder, key)
    copy = tmp_path / "downloaded"
    shutil.copytree(bundle.folder, copy)
    tool = [sys.executable, "-m", "model_signing", "verify", "key", str(copy)]
    keys = ["--signature", str(copy / SEAL), "--public_key", str(key.with_suffix(".pub"))]
    done = subprocess.run([*tool, *keys], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, "succeeded" in done.stdout) == (0, True), done.stderr
    (copy / GOLDEN).write_text("{}")
    done = subprocess.run([*tool, *keys], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode != 0


def test_unsigned_is_refused_where_a_key_is_wanted(bundle: SmallBundle, key: Path) -> None:
    verify_signed(bundle.folder)
    with pytest.raises(PolicyRefused, match="is not signed"):
        verify_signed(bundle.folder, public_key=key.with_suffix(".pub"))


def test_another_key_is_refused_and_may_be_replaced(
    bundle: SmallBundle, key: Path, tmp_path: Path
) -> None:
    other = write_keys(tmp_path, "other")
    sign_bundle(bundle.folder, other)
    with pytest.raises(IntegrityBroken, match="not a signature of the configured key"):
        verify_signed(bundle.folder, public_key=key.with_suffix(".pub"))
    sign_bundle(bundle.folder, key)  # the key was changed: what is packaged again is signed again
    verify_signed(bundle.folder, public_key=key.with_suffix(".pub"))


def test_files_sealed_again_are_not_the_signed_ones(bundle: SmallBundle, key: Path) -> None:
    """Who may write files can write a manifest, too; the signature is what he lacks."""
    sign_bundle(bundle.folder, key)
    (bundle.folder / GOLDEN).write_text("{}")
    seal(bundle.folder, model="tiny", task="binary", framework="sklearn")
    verify(bundle.folder)
    with pytest.raises(IntegrityBroken, match=rf"signed were other files: {GOLDEN}, {MANIFEST}"):
        verify_signed(bundle.folder, public_key=key.with_suffix(".pub"))


def test_a_changed_statement_is_noticed(bundle: SmallBundle, key: Path) -> None:
    sign_bundle(bundle.folder, key)
    file = bundle.folder / SEAL
    whole = json.loads(file.read_bytes())
    envelope = whole["dsseEnvelope"]
    payload = b64decode(envelope["payload"])
    damaged = [
        {**envelope, "payload": b64encode(payload.replace(b"sha256", b"sha257", 1)).decode()},
        {**envelope, "payloadType": "application/json"},
        {**envelope, "signatures": []},
        {},
    ]
    for change in damaged:
        file.write_text(json.dumps({**whole, "dsseEnvelope": change}))
        with pytest.raises(IntegrityBroken, match="not a signature of the configured key"):
            verify_signed(bundle.folder, public_key=key.with_suffix(".pub"))
    file.write_text("[]")
    with pytest.raises(IntegrityBroken):
        verify_signed(bundle.folder, public_key=key.with_suffix(".pub"))


def test_a_signature_of_another_bundle_does_not_fit(
    make_bundle: BundleMaker, bundle: SmallBundle, key: Path, tmp_path: Path
) -> None:
    other = make_bundle(tmp_path / "bundles", strength=0.1)
    sign_bundle(other.folder, key)
    shutil.copyfile(other.folder / SEAL, bundle.folder / SEAL)
    with pytest.raises(IntegrityBroken, match="signed were other files"):
        verify_signed(bundle.folder, public_key=key.with_suffix(".pub"))


def test_keys_that_are_none(bundle: SmallBundle, key: Path, tmp_path: Path) -> None:
    with pytest.raises(DependencyUnavailable, match=r"cannot be read: .*absent\.pem"):
        sign_bundle(bundle.folder, tmp_path / "absent.pem")
    with pytest.raises(PolicyRefused, match="is no private EC key"):
        sign_bundle(bundle.folder, key.with_suffix(".pub"))
    edwards = tmp_path / "edwards.pem"
    edwards.write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
    )
    with pytest.raises(PolicyRefused, match="is no private EC key"):
        sign_bundle(bundle.folder, edwards)
    with pytest.raises(PolicyRefused, match="is no public EC key"):
        verify_signed(bundle.folder, public_key=key)
    assert not (bundle.folder / SEAL).exists()


def test_checking_loads_no_library_of_training(bundle: SmallBundle, key: Path) -> None:
    """The server checks signatures, and stays lean."""
    sign_bundle(bundle.folder, key)
    code = """
import sys
from pathlib import Path
from ferryman.runtime.bundle_signing import verify_signed
verify_signed(Path(sys.argv[1]), public_key=Path(sys.argv[2]))
print(sorted({"model_signing", "sigstore", "mlflow", "tensorflow", "onnx"} & set(sys.modules)))
"""
    command = [sys.executable, "-c", code, str(bundle.folder), str(key.with_suffix(".pub"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.strip() == "[]"
