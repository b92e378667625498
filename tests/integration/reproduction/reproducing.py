"""The command, in an installation that trains and reproduces one model."""

import json
from pathlib import Path
from typing import Any

import pytest
from services.command import Command

from ferryman.registry.mlflow_connection import connect
from ferryman.settings import load_settings


class House(Command):
    """The command, in an installation of its own."""

    def __init__(
        self,
        capsys: pytest.CaptureFixture[str],
        patch: pytest.MonkeyPatch,
        model: str = "rain",
    ) -> None:
        super().__init__(capsys, patch)
        self.model = model

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
