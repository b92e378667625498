"""kill -9 at every kind of write, then again: the end is that of a clean run."""

import json
import subprocess
import sys
from pathlib import Path

from training_line import Line

from ferryman.runtime.bundle import verify
from ferryman.settings import Settings

SCRIPT = Path(__file__).with_name("kill_script.py")


def test_killed_steps_end_as_a_clean_run_does(line: Line) -> None:
    settings = line.settings
    done = subprocess.run(
        [sys.executable, SCRIPT, settings.home, settings.source_root, settings.zoo],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    assert report["kills"] >= 8
    assert report["versions"] == 1
    assert report["runs"] == ["FINISHED"]
    outputs = report["outputs"]
    assert report["bundles"] == [outputs["digest"]]
    verify(Path(outputs["bundle"]), digest=outputs["digest"])
    # Other code: its model is not taken over, but fitted.
    other = Line(Settings(**{**settings.model_dump(), "code_version": "other"}), line.model)
    clean = other.run("train", "evaluate", "package", "register", run_id="clean")
    assert clean["train"].metrics["fit_seconds"] is not None
    registered = clean["register"].outputs
    assert (registered["version"], registered["digest"]) == (1, outputs["digest"])
