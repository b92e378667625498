"""A tracking server of MLflow on a database, as a process that can be killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


class MlflowServer:
    """`start` returns when it answers at `url`; its own files and its log are in `folder`."""

    def __init__(self, folder: Path, database: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        self._command += ["--host", "127.0.0.1", "--port", str(port)]
        self._command += ["--backend-store-uri", database]
        self._command += ["--artifacts-destination", (folder / "remote").as_uri()]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={**os.environ, **_QUIET},
                start_new_session=True,
            )
        deadline = time.monotonic() + 150
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.5)
        self.end()
        raise RuntimeError("the tracking server did not start")

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it and its workers; a repeat does nothing."""
        if self._process is None:
            return
        if self._process.poll() is None:
            os.killpg(self._process.pid, how)
            self._process.wait(30)
        self._process = None
