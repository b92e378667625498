"""Model files are the same bytes whichever process writes them."""

import subprocess
import sys
from pathlib import Path

FIT_AND_SAVE = """
import sys, numpy as np
from pathlib import Path
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from ferryman.training.skops_file import save_skops
values = np.linspace(0, 1, 200, dtype=np.float32).reshape(-1, 2)
model = make_pipeline(StandardScaler(), RandomForestClassifier(3, random_state=1))
save_skops(model.fit(values, values[:, 0] > 0.5), Path(sys.argv[1]))
"""


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        file = tmp_path / f"{seed}.skops"
        subprocess.run(
            [sys.executable, "-c", FIT_AND_SAVE, str(file)],
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
        )
    assert (tmp_path / "1.skops").read_bytes() == (tmp_path / "2.skops").read_bytes()
