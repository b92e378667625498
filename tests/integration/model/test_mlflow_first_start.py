"""Many processes may be the first to open the tracking database."""

import subprocess
import sys
from pathlib import Path

from ferryman.registry.mlflow_tracking import MlflowTracker

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


def test_two_processes_at_once_make_one_run_and_one_version(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START, uri, str(tmp_path / "artifacts")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    done = [(process.communicate(timeout=200), process.returncode) for process in processes]
    assert [code for _, code in done] == [0, 0], done
    answers = {out.strip() for (out, _), _ in done}
    assert len(answers) == 1
    assert answers.pop().endswith(" 1")


def test_a_start_that_was_killed_half_way_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".mlflow.db.new").write_text("half a database")
    (tmp_path / ".mlflow.db.new-journal").write_text("half a journal")
    run = MlflowTracker(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path).start("rain", "r", "k", {})
    assert run.id
    assert not list(tmp_path.glob(".mlflow.db.new*"))
