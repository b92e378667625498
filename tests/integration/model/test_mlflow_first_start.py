"""Many processes may be the first to open the tracking database."""

import subprocess
import sys
from pathlib import Path

START = """
import sys
from pathlib import Path
from ferryman.registry.mlflow_tracking import MlflowTracker
from ferryman.registry.mlflow_registry import MlflowRegistry
uri, artifacts = sys.argv[1], Path(sys.argv[2])
run = MlflowTracker(uri, artifacts).start("rain", "same run", "key", {})
version = MlflowRegistry(uri, artifacts).register("rain", "key", "d", artifacts.as_uri(), {})
print(run.id, version.version)
"""


def test_three_processes_at_once_make_one_run_and_one_version(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START, uri, str(tmp_path / "artifacts")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    answers = set()
    for process in processes:
        out, error = process.communicate(timeout=200)
        assert process.returncode == 0, error
        answers.add(out.strip())
    assert len(answers) == 1
    assert answers.pop().endswith(" 1")
