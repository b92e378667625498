"""Importing a DAG file is paid at every parse and at every task's start: nothing heavy in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "dags").glob("*.py"))
HEAVY = ("mlflow", "sklearn", "tensorflow", "pandas", "great_expectations", "duckdb", "onnxruntime")

_PROGRAM = """
import runpy, sys, time
import airflow.sdk
airflow.sdk.DAG, airflow.sdk.CronDataIntervalTimetable
before = time.process_time()
already = set(sys.modules)
runpy.run_path(sys.argv[1])
print(time.process_time() - before)
print(" ".join(sorted({name.partition(".")[0] for name in set(sys.modules) - already})))
"""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_dag_file_imports_nothing_heavy(file, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(file)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    seconds, modules = done.stdout.strip().splitlines()[-2:]
    assert not set(modules.split()) & set(HEAVY)
    assert "ferryman" in modules.split()
    assert float(seconds) < 1.5, f"{seconds} CPU seconds beyond airflow.sdk"
