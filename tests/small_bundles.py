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

FEATURES = {"carrier": "category", "distance": "number", "hour": "integer"}


class SmallBundle(NamedTuple):
    """A sealed bundle of the model `tiny`, with rows and the probabilities that it must give."""

    folder: Path
    digest: str
    rows: list[dict[str, Any]]
    outputs: list[float]


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
def free_ports() -> Callable[[int], list[int]]:
    """free_ports(n): ports that were free a moment ago, all different."""

    def find(count: int) -> list[int]:
        with ExitStack() as stack:
            probes = [stack.enter_context(socket.socket()) for _ in range(count)]
            for probe in probes:
                probe.bind(("127.0.0.1", 0))
            return [int(probe.getsockname()[1]) for probe in probes]

    return find


def _make_bundle(folder: Path, strength: float) -> SmallBundle:
    import numpy as np
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    from ferryman.packaging.export import export_onnx
    from ferryman.spec.data import FeatureSpec

    random = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "carrier": random.choice(["UA", "AA", "B6"], 300).astype(object),
            "distance": random.uniform(100, 2500, 300).astype(np.float32),
            "hour": random.integers(5, 23, 300).astype(np.float32),
        }
    )
    labels = frame["hour"] + random.normal(0, 4, 300) > 15
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    pipeline = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["carrier"]),
            (numbers, ["distance", "hour"]),
        ),
        LogisticRegression(C=strength / 100),
    ).fit(frame, labels)
    folder.mkdir(parents=True)
    columns = {name: FeatureSpec(type=kind) for name, kind in FEATURES.items()}
    export_onnx(pipeline, columns, folder / ONNX, name="tiny")
    rows = [
        {"carrier": row.carrier, "distance": float(row.distance), "hour": int(row.hour)}
        for row in frame.head(20).itertuples()
    ]
    outputs = [float(value) for value in pipeline.predict_proba(frame.head(20))[:, 1]]
    signature = {
        "features": [{"name": name, "type": kind} for name, kind in FEATURES.items()],
        "entity": ["carrier", "flight"],
        "output": "late",
    }
    write_json(folder / SIGNATURE, signature)
    write_json(folder / GOLDEN, {"rows": rows, "outputs": outputs, "tolerance": 1e-5})
    write_json(folder / REFERENCE, {})
    manifest = seal(folder, model="tiny", task="binary", framework="sklearn")
    return SmallBundle(folder, manifest.digest, rows, outputs)
