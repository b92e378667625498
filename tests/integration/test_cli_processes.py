"""The `ferryman` command and processes: a taken port, errors across borders, its imports."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from services.command import run_cli

from ferryman.errors import DependencyUnavailable


def test_serving_on_a_taken_port_exits_6_and_names_the_holder(
    tmp_path, monkeypatch, capsys, caplog
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("FERRYMAN_SERVING_PORT", str(port))
        for arguments in (("serve",), ("serve", "--detach")):
            caplog.clear()
            assert run_cli(monkeypatch, tmp_path, tmp_path, *arguments) == 6
            said = capsys.readouterr().err + caplog.text
            assert str(port) in said
            assert str(os.getpid()) in said


def test_errors_survive_a_process_border() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests');"
        "from concurrent.futures import ProcessPoolExecutor as P;"
        "from ferryman.errors import DependencyUnavailable as D;"
        "from tests.integration.test_cli_processes import fail;"
        "e = P(1).submit(fail).exception(); print(type(e).__name__, e.remedy)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "DependencyUnavailable start it"


def fail() -> None:
    raise DependencyUnavailable("away", remedy="start it")


def test_the_command_starts_light() -> None:
    heavy = {"pandas", "numpy", "sklearn", "mlflow", "duckdb", "pyarrow", "airflow", "fastapi"}
    code = "import sys, ferryman.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heavy.isdisjoint(done.stdout.split())
