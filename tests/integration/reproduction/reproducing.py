"""The command, in an installation that trains and reproduces one model."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ferryman.cli import main as cli
from ferryman.registry.mlflow_connection import connect
from ferryman.settings import load_settings


class House:
    """The command, in an installation of its own and in this process."""

    def __init__(
        self,
        capsys: pytest.CaptureFixture[str],
        patch: pytest.MonkeyPatch,
        model: str = "rain",
    ) -> None:
        self.model = model
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

    def train(self) -> None:
        for step in ("train", "package", "register"):
            self("run", step, "-m", self.model)

    def reproduce(self, code: int = 0) -> dict[str, Any]:
        """The answer as JSON; what goes to standard error after it is left out."""
        text = self("reproduce", f"{self.model}/1", "--json", code=code)
        told: dict[str, Any] = json.JSONDecoder().raw_decode(text)[0]
        return told

    def artifacts(self, folder: str) -> Path:
        """Where the files of the training run are."""
        settings = load_settings()
        client = connect(settings.mlflow_uri)
        run = client.get_model_version(self.model, "1").tags["ferryman.mlflow_run_id"]
        return Path(client.get_run(run).info.artifact_uri.removeprefix("file://")) / folder
