"""The token of those who post labels, and what a server knows of it: its digest.

Replicas, containers and pods compare digests: whoever reads a server's own files can check a token,
and cannot make one.
"""

import hashlib
import hmac
from pathlib import Path

from ferryman.runtime.admin_token import make_token
from ferryman.runtime.files import write_atomic

TOKEN_FILE, DIGEST_FILE = "labels.token", "labels.sha256"


def make_label_token(root: Path) -> str:
    """The digest of a server's label token, made if there is none; both are kept in `root`.

    PolicyRefused (exit 9) if others may read the token.
    """
    digest = token_digest(make_token(root / TOKEN_FILE).encode())
    if read_label_digest(root) != digest:
        write_atomic(root / DIGEST_FILE, digest.encode())
    return digest


def read_label_digest(root: Path) -> str:
    """The digest that a server's root names; empty where it names none."""
    try:
        return (root / DIGEST_FILE).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def token_digest(token: bytes) -> str:
    """What a server keeps of a token: a token of 32 random bytes cannot be found from it."""
    return hashlib.sha256(token).hexdigest()


def is_token(given: bytes, digest: str) -> bool:
    """Whether a given token is the one of a digest."""
    return bool(digest) and hmac.compare_digest(token_digest(given), digest)
