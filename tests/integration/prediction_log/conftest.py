"""A small real model whose answers are logged, and a disk that is soon full."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from services.s3_server import S3Server
from small_bundles import _small_bundles, make_bundle
from small_disk import disk_of

from ferryman.serving.models.onnx_model import Identity, OnnxModel

__all__ = ["_small_bundles", "make_bundle"]


@pytest.fixture
def model(tmp_path: Path, make_bundle: Any) -> OnnxModel:
    bundle = make_bundle(tmp_path / "bundles")
    return OnnxModel(bundle.folder, Identity("tiny", 3, 7, bundle.digest))


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    with disk_of(1 << 20, tmp_path / "small") as place:
        yield place
