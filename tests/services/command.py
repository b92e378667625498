"""The command `ferryman`, run in the test's own process."""

import sys
from pathlib import Path

import pytest

from ferryman.cli import main as cli
from ferryman.settings import load_settings


class Command:
    """Runs `ferryman` with arguments, checks its exit code and gives what it said."""

    def __init__(self, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self.capsys = capsys
        self.patch = patch

    def __call__(self, *arguments: str, code: int = 0) -> str:
        self.patch.setattr(sys, "argv", ["ferryman", *arguments])
        load_settings.cache_clear()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = self.capsys.readouterr()
        assert (stop.value.code or 0) == code, said.out + said.err
        return said.out + said.err


def run_cli(monkeypatch: pytest.MonkeyPatch, home: Path, zoo: Path, *arguments: str) -> int:
    """The exit code of `ferryman` with arguments, in an installation of the test's own."""
    monkeypatch.setenv("FERRYMAN_HOME", str(home))
    monkeypatch.setenv("FERRYMAN_ZOO", str(zoo))
    monkeypatch.setattr(sys, "argv", ["ferryman", *arguments])
    load_settings.cache_clear()
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        load_settings.cache_clear()
    return 0
