"""Who vouches for a bundle: a signature in the OpenSSF Model Signing format, made with a key.

`model.sig` lies in the bundle beside the manifest: a Sigstore bundle whose DSSE envelope holds an
in-toto statement with the sha256 of every file, signed with ECDSA. Anybody can check it with
`model_signing verify key`. Here it is checked with `cryptography` alone: the library's own check
costs a second and 46 MB of imports, which the server would carry (docs/decisions, 9).
"""

import base64
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferryman.errors import DependencyUnavailable, IntegrityBroken, PolicyRefused
from ferryman.runtime.bundle import MANIFEST, SEAL, Manifest, verify
from ferryman.runtime.files import file_digest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

_STATEMENT = "application/vnd.in-toto+json"
_PREDICATE = "https://model_signing/signature/v1.0"
_HASHES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}


def verify_signed(
    folder: Path, *, digest: str | None = None, public_key: Path | None = None
) -> Manifest:
    """Check every byte of a bundle, and who signed it where a public key is configured.

    Raises IntegrityBroken (exit 7) for bytes that differ or a signature that is not this key's over
    these files, PolicyRefused (exit 9) for a bundle that nobody signed.
    """
    manifest = verify(folder, digest=digest)
    if public_key is not None:
        _check(folder, manifest, _public_key(public_key))
    return manifest


def sign_bundle(folder: Path, private_key: Path) -> None:
    """Sign a sealed bundle with an EC key (PEM: P-256, P-384 or P-521, without a password).

    A bundle that this key has signed is left as it is. The signature is written beside the manifest
    and is no part of the digest: it differs each time that it is made.
    """
    manifest = verify(folder)
    public = _load(private_key, private=True).public_key()
    try:
        _check(folder, manifest, public)
        return
    except (IntegrityBroken, PolicyRefused):
        # Unsigned, or signed with an older key: bytes are right, so this one vouches from now on.
        _write_signature(folder, private_key)
    _check(folder, manifest, public)


def _write_signature(folder: Path, private_key: Path) -> None:
    from model_signing import hashing, signing

    files = hashing.Config().set_ignored_paths(paths=[SEAL], ignore_git_paths=False)
    # Outside the bundle, since whoever verifies it meanwhile must not meet half a file.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name[:16]}.") as scratch:
        file = Path(scratch) / SEAL
        signer = signing.Config().use_elliptic_key_signer(private_key=str(private_key))
        signer.set_hashing_config(files).sign(folder, file)
        file.chmod(0o644)
        file.replace(folder / SEAL)


def _check(folder: Path, manifest: Manifest, key: "EllipticCurvePublicKey") -> None:
    """The key signed exactly the files of the manifest, and the manifest itself."""
    file = folder / SEAL
    if not file.is_file():
        raise PolicyRefused(
            f"bundle {folder} is not signed, and only signed models may be used here",
            remedy="Package the model with FERRYMAN_SIGNING_KEY set, then register it again.",
        )
    try:
        statement = _statement(json.loads(file.read_bytes()), key)
        signed = {entry["name"]: entry["digest"] for entry in statement["predicate"]["resources"]}
        known = (statement["predicateType"], statement["predicate"]["serialization"]["hash_type"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise IntegrityBroken(f"{file}: not a signature of the configured key: {error}") from error
    expected = {name: entry.sha256 for name, entry in manifest.files.items()}
    expected[MANIFEST] = file_digest(folder / MANIFEST)
    if known != (_PREDICATE, "sha256") or signed != expected:
        changed = [name for name in {*signed, *expected} if signed.get(name) != expected.get(name)]
        raise IntegrityBroken(
            f"{file}: signed were other files: {', '.join(sorted(changed)[:5])}",
            remedy="Do not use the bundle; restore it from a verified copy or train again.",
        )


def _statement(envelope: Any, key: "EllipticCurvePublicKey") -> Any:
    """What an envelope's payload says, once its signature is right; ValueError where it is not."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    inner = envelope["dsseEnvelope"]
    payload = base64.b64decode(inner["payload"], validate=True)
    signature = base64.b64decode(inner["signatures"][0]["sig"], validate=True)
    if inner["payloadType"] != _STATEMENT:
        raise ValueError(f"a payload of type {inner['payloadType']!r}")
    # DSSE's pre-authentication encoding: what is signed names the type and both lengths.
    signed = f"DSSEv1 {len(_STATEMENT)} {_STATEMENT} {len(payload)} ".encode() + payload
    try:
        key.verify(signature, signed, ECDSA(getattr(hashes, _HASHES[key.curve.name])()))
    except InvalidSignature as error:
        raise ValueError("the signature is wrong") from error
    return json.loads(payload)


def _public_key(file: Path) -> "EllipticCurvePublicKey":
    key: EllipticCurvePublicKey = _load(file, private=False)
    return key


def _load(file: Path, *, private: bool) -> Any:
    """A key of a PEM file; DependencyUnavailable or PolicyRefused that names the file."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    kind = "private" if private else "public"
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DependencyUnavailable(
            f"the {kind} key for signing cannot be read: {file}: {error.strerror}",
            remedy="Mount the key, or correct FERRYMAN_SIGNING_KEY, FERRYMAN_SIGNING_PUBLIC_KEY.",
        ) from error
    try:
        key: Any = (
            serialization.load_pem_private_key(content, None)
            if private
            else serialization.load_pem_public_key(content)
        )
        if key.curve.name not in _HASHES:
            raise ValueError(key.curve.name)
    except (ValueError, TypeError, AttributeError, UnsupportedAlgorithm) as error:
        raise PolicyRefused(
            f"{file} is no {kind} EC key (P-256, P-384, P-521) in PEM without a password",
            remedy="openssl ecparam -name prime256v1 -genkey -noout -out signing.pem; "
            "openssl ec -in signing.pem -pubout -out signing.pub",
        ) from error
    return key
