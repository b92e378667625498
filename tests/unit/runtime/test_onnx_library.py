"""onnxruntime is loaded without the telemetry that its wheel brings."""

import json
import os
import subprocess
import sys
from pathlib import Path

LOAD = """
import json, os, time
from ferryman.runtime.onnx_library import load_onnxruntime
load_onnxruntime()
time.sleep(0.2)
print(json.dumps(os.listdir("/proc/self/task")))
"""


def test_no_thread_and_no_identity_of_the_machine(tmp_path: Path) -> None:
    theirs = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}
    said = subprocess.run(
        [sys.executable, "-c", LOAD],
        env={**theirs, "HOME": str(tmp_path), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert len(json.loads(said)) == 1
    assert list(tmp_path.rglob("*")) == []
