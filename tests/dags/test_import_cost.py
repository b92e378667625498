"""Importing a DAG file is paid at every parse and at every task's start: nothing heavy in it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "dags").glob("*.py"))
HEAVY = ("mlflow", "sklearn", "tensorflow", "pandas", "great_expectations", "duckdb", "onnxruntime")

# Airflow is imported once; each file is run in a fork of its own.
_PROGRAM = """
import json, os, runpy, sys, time
import airflow.sdk
airflow.sdk.DAG, airflow.sdk.CronDataIntervalTimetable
already = set(sys.modules)
for file in sys.argv[1:]:
    if os.fork() == 0:
        before = time.process_time()
        runpy.run_path(file)
        seconds = time.process_time() - before
        modules = {name.partition(".")[0] for name in set(sys.modules) - already}
        print("imported", json.dumps([file, seconds, sorted(modules)]), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """file -> (CPU seconds beyond airflow.sdk, modules); and what was said of those that failed."""
    place = tmp_path_factory.mktemp("airflow")
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *map(str, FILES)],
        capture_output=True,
        text=True,
        check=False,
        cwd=place,
        env={**os.environ, "AIRFLOW_HOME": str(place)},
        timeout=120,
    )
    marked = [line for line in done.stdout.splitlines() if line.startswith("imported ")]
    found = [json.loads(line.removeprefix("imported ")) for line in marked]
    return {file: told for file, *told in found}, done.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_dag_file_imports_nothing_heavy(file, imported):
    found, said = imported
    assert str(file) in found, said[-2000:]
    seconds, modules = found[str(file)]
    assert not set(modules) & set(HEAVY)
    assert "ferryman" in modules
    assert seconds < 1.5, f"{seconds} CPU seconds beyond airflow.sdk"
