"""Spoiled copies of real small models of every task: taken by a server's checks, and wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_bundles import _task_bundles, make_task_bundle

from ferryman.packaging.spoiled_bundle import SPOILED_KINDS, SpoiledKind, write_spoiled_bundle
from ferryman.serving.models.onnx_model import Identity, open_verified
from ferryman.serving.models.rows import RowError

__all__ = ["_task_bundles", "make_task_bundle"]


@pytest.mark.parametrize("kind", SPOILED_KINDS)
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_each_task_is_spoiled_in_each_way(
    task: str, kind: SpoiledKind, make_bundle: Any, make_task_bundle: Any, tmp_path: Path
) -> None:
    made = make_bundle(tmp_path) if task == "binary" else make_task_bundle(tmp_path, task)
    manifest = write_spoiled_bundle(made.folder, made.digest, kind, tmp_path / "bad")
    assert {"model.onnx", "serving.onnx"} <= manifest.files.keys()
    model = open_verified(tmp_path / "bad", Identity("tiny", 0, 0, manifest.digest))

    def answers(rows: list[dict[str, Any]]) -> Any:
        return np.array(model.score(model.schema.read_rows(rows)))

    usual = np.array(made.outputs)
    if kind == "nan":
        with pytest.raises(RowError, match="no finite score"):
            answers(made.rows[:1])
        assert np.allclose(answers(made.rows), usual, atol=1e-4)
    elif kind == "constant":
        found = answers(made.rows)
        assert np.ptp(found, axis=0).max() == 0
        assert np.abs(found - usual).max() > 0.3
    else:
        opposite = {
            "binary": 1 - usual,
            "multiclass": usual[..., ::-1],
            "regression": 2 * usual.mean() - usual,
        }[task]
        assert np.allclose(answers(made.rows), opposite, atol=1e-4)
