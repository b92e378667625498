"""The token of those who post labels, and the digest that servers know it by."""

from pathlib import Path

import pytest

from ferryman.errors import PolicyRefused
from ferryman.runtime.label_token import (
    DIGEST_FILE,
    TOKEN_FILE,
    is_token,
    make_label_token,
    read_label_digest,
)


def test_a_digest_tells_the_token_and_follows_it(tmp_path: Path) -> None:
    assert read_label_digest(tmp_path) == ""
    digest = make_label_token(tmp_path)
    token = (tmp_path / TOKEN_FILE).read_bytes()
    assert make_label_token(tmp_path) == read_label_digest(tmp_path) == digest
    assert is_token(token, digest)
    assert not is_token(token, "")
    assert not is_token(token[:-1], digest)
    assert digest.encode() not in token
    (tmp_path / TOKEN_FILE).unlink()
    assert make_label_token(tmp_path) != digest
    assert not is_token(token, read_label_digest(tmp_path))


def test_others_may_read_the_digest_and_not_the_token(tmp_path: Path) -> None:
    make_label_token(tmp_path)
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in (TOKEN_FILE, DIGEST_FILE)}
    assert modes == {TOKEN_FILE: 0o600, DIGEST_FILE: 0o644}
    (tmp_path / TOKEN_FILE).chmod(0o644)
    with pytest.raises(PolicyRefused, match="can be read by others"):
        make_label_token(tmp_path)
