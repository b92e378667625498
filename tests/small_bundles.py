"""Fixtures that more than one test folder needs: small real bundles, free ports."""

import shutil
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ferryman.runtime.bundle import GOLDEN, ONNX, REFERENCE, SIGNATURE, seal
from ferryman.runtime.files import write_json
from ferryman.spec.metrics import Task

CLASSES = ["late", "early", "gone"]
FEATURES = {"carrier": "category", "distance": "number", "hour": "integer"}


class SmallBundle(NamedTuple):
    """A sealed bundle of the model `tiny`, with rows and the probabilities that it must give."""

    folder: Path
    digest: str
    rows: list[dict[str, Any]]
    outputs: list[Any]


BundleMaker = Callable[..., SmallBundle]


@pytest.fixture(scope="session")
def _small_bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[float, SmallBundle]:
    root = tmp_path_factory.mktemp("bundles")
    return {strength: _make_bundle(root / str(strength), strength) for strength in (1.0, 0.1, 10.0)}


@pytest.fixture(scope="session")
def make_bundle(_small_bundles: dict[float, SmallBundle]) -> BundleMaker:
    """make_bundle(bundles_root, strength=1.0): a copy at its proper place below a root.

    Strengths 0.1, 1.0 and 10.0 are three models that answer differently.
    """

    def make(bundles_root: Path, strength: float = 1.0) -> SmallBundle:
        bundle = _small_bundles[strength]
        folder = bundles_root / "tiny" / bundle.digest
        if not folder.exists():
            shutil.copytree(bundle.folder, folder)
        return bundle._replace(folder=folder)

    return make


@pytest.fixture(scope="session")
def _task_bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SmallBundle]:
    root = tmp_path_factory.mktemp("task-bundles")
    return {task: _make_bundle(root / task, 1.0, task) for task in ("multiclass", "regression")}


@pytest.fixture(scope="session")
def make_task_bundle(_task_bundles: dict[str, SmallBundle]) -> BundleMaker:
    """make_task_bundle(bundles_root, task): a model `tiny` of three classes, or of a number.

    No row of theirs may lack `carrier` or `hour`.
    """

    def make(bundles_root: Path, task: str) -> SmallBundle:
        bundle = _task_bundles[task]
        folder = bundles_root / "tiny" / bundle.digest
        if not folder.exists():
            shutil.copytree(bundle.folder, folder)
        return bundle._replace(folder=folder)

    return make


@pytest.fixture(scope="session")
def free_ports() -> Callable[[int], list[int]]:
    """free_ports(n): ports that were free a moment ago, all different."""

    def find(count: int) -> list[int]:
        with ExitStack() as stack:
            probes = [stack.enter_context(socket.socket()) for _ in range(count)]
            for probe in probes:
                probe.bind(("127.0.0.1", 0))
            return [int(probe.getsockname()[1]) for probe in probes]

    return find


def _make_bundle(folder: Path, strength: float, task: Task = "binary") -> SmallBundle:
    import numpy as np
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    from ferryman.packaging.export import export_onnx
    from ferryman.packaging.parity import Trained
    from ferryman.packaging.serving_graph import write_serving_graph
    from ferryman.spec.data import FeatureSpec

    random = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "carrier": random.choice(["UA", "AA", "B6"], 300).astype(object),
            "distance": random.uniform(100, 2500, 300).astype(np.float32),
            "hour": random.integers(5, 23, 300).astype(np.float32),
        }
    )
    noisy = frame["hour"] + random.normal(0, 4, 300)
    labels: Any = noisy > 15
    if task != "binary":
        labels = noisy if task == "regression" else np.digitize(noisy, [10, 16])
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    pipeline = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["carrier"]),
            (numbers, ["distance", "hour"]),
        ),
        LinearRegression() if task == "regression" else LogisticRegression(C=strength / 100),
    ).fit(frame, labels)
    folder.mkdir(parents=True)
    columns = {name: FeatureSpec(type=kind) for name, kind in FEATURES.items()}
    export_onnx(pipeline, columns, folder / ONNX, name="tiny", task=task)
    rows = [
        {"carrier": row.carrier, "distance": float(row.distance), "hour": int(row.hour)}
        for row in frame.head(20).itertuples()
    ]

    def predict(asked: pd.DataFrame) -> Any:
        if task == "regression":
            return pipeline.predict(asked)
        chances = pipeline.predict_proba(asked)
        return chances if task == "multiclass" else chances[:, 1]

    trained = Trained(frame, predict(frame), predict, columns, ["late"])
    blocks, _ = write_serving_graph(folder, trained)
    outputs = trained.answers[:20].tolist()
    required = () if task == "binary" else ("carrier", "hour")
    signature = {
        "features": [
            {"name": name, "type": kind, "nullable": name not in required}
            for name, kind in FEATURES.items()
        ],
        "task": task,
        "classes": CLASSES if task == "multiclass" else [],
        "entity": ["carrier", "flight"],
        "output": "late",
        "blocks": blocks,
    }
    write_json(folder / SIGNATURE, signature)
    write_json(folder / GOLDEN, {"rows": rows, "outputs": outputs, "tolerance": 1e-5})
    write_json(folder / REFERENCE, {})
    manifest = seal(folder, model="tiny", task=task, framework="sklearn")
    return SmallBundle(folder, manifest.digest, rows, outputs)
