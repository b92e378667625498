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
GRAPH = """
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.preprocessing import OrdinalEncoder
import pandas as pd
from ferryman.packaging.export import export_onnx
from ferryman.spec.data import FeatureSpec
frame = pd.DataFrame({"n": values[:, 0], "c": ["a", "b"] * 50})
encode = make_column_transformer((OrdinalEncoder(), ["c"]), remainder="passthrough")
trees = make_pipeline(encode, HistGradientBoostingClassifier(max_iter=2))
columns = {"n": FeatureSpec(type="number"), "c": FeatureSpec(type="category")}
trees.fit(frame, values[:, 0] > 0.5)
export_onnx(trees, columns, Path(sys.argv[1]).with_suffix(".onnx"), name="m")
"""


def test_processes_write_the_same_bytes(tmp_path: Path) -> None:
    """Python's order of sets differs from process to process; no file may show it."""
    for seed in ("1", "2", "3", "4"):
        file = tmp_path / f"{seed}.skops"
        subprocess.run(
            [sys.executable, "-c", FIT_AND_SAVE + GRAPH, str(file)],
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
        )
    for kind in (".skops", ".onnx"):
        assert len({file.read_bytes() for file in tmp_path.glob(f"*{kind}")}) == 1
