"""The token is made once, and kept from others."""

from pathlib import Path

import pytest

from ferryman.errors import DependencyUnavailable, PolicyRefused
from ferryman.runtime.admin_token import make_token, read_token


def test_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "serving" / "admin.token"
    with pytest.raises(DependencyUnavailable, match="no administration token"):
        read_token(file)
    token = make_token(file)
    assert len(token) >= 32 and file.stat().st_mode & 0o777 == 0o600
    assert make_token(file) == read_token(file) == token


def test_a_token_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "admin.token"
    token = make_token(file)
    file.chmod(0o640)
    for use in (make_token, read_token):
        with pytest.raises(PolicyRefused, match="640") as caught:
            use(file)
        assert token not in str(caught.value)
    file.chmod(0o600)
    file.write_text("")
    with pytest.raises(DependencyUnavailable, match="no token"):
        read_token(file)
