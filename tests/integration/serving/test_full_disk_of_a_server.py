"""The disk of a server is full when a release comes: it is refused, and the old one stays."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from running_server import RunningServer, starting
from small_disk import disk_of

from ferryman.errors import DependencyUnavailable
from ferryman.serving.models.served_pointers import POINTERS


@pytest.fixture
def server(tmp_path: Path, free_ports: Any) -> Iterator[RunningServer]:
    """A server whose home is on a disk of 8 MB."""
    with disk_of(8 << 20, tmp_path / "disk") as disk, starting(disk, free_ports) as start:
        yield start(replicas=1)


def test_a_pointer_that_cannot_be_written_stays_the_old_one(
    server: RunningServer, make_bundle: Any, tmp_path: Path
) -> None:
    root = server.settings.bundles_root
    first, second = make_bundle(root), make_bundle(root, 10.0)
    server.load(first, 1)
    server.client.check("tiny", bundle=str(second.folder), digest=second.digest)
    pointer, ballast = server.endpoint.root / POINTERS, tmp_path / "disk" / "ballast"
    before = pointer.read_bytes()
    with pytest.raises(OSError, match="No space left"), ballast.open("wb", 0) as file:
        while True:
            file.write(b"x" * 4096)
    for _ in range(2):
        with pytest.raises(DependencyUnavailable, match=r"no space left for .*served\.json"):
            server.load(second, 2)
        assert pointer.read_bytes() == before
        answer = server.client.predict("tiny", first.rows)
        assert (answer.epoch, answer.scores) == (1, pytest.approx(first.outputs, abs=1e-5))
    assert [path for path in pointer.parent.iterdir() if path.name.startswith(f".{POINTERS}")] == []
    ballast.unlink()
    server.deployer.stop()
    assert server.deployer.start().state == "ready"
    assert server.client.predict("tiny", first.rows).epoch == 1
    server.load(second, 2)
    assert server.client.predict("tiny", second.rows).epoch == 2


def test_answers_go_on_where_the_log_has_no_room(
    server: RunningServer, make_bundle: Any, tmp_path: Path
) -> None:
    bundle, ballast = make_bundle(server.settings.bundles_root), tmp_path / "disk" / "ballast"
    server.load(bundle, 1)
    with pytest.raises(OSError, match="No space left"), ballast.open("wb", 0) as file:
        while True:
            file.write(b"x" * 4096)
    right = pytest.approx(bundle.outputs * 100, abs=1e-5)
    asked, until = 0, time.monotonic() + 30
    while not dropped(server) and time.monotonic() < until:
        assert server.client.predict("tiny", bundle.rows * 100).scores == right
        asked += 1
    lost = dropped(server)
    assert 0 < lost <= asked * len(bundle.rows) * 100
    ballast.unlink()
    assert server.client.predict("tiny", bundle.rows).epoch == 1
    server.client.flush()
    files = server.settings.predictions_root.glob("tiny/*/*.parquet")
    assert sum(pq.ParquetFile(file).metadata.num_rows for file in files) >= len(bundle.rows)
    assert dropped(server) == lost


def dropped(server: RunningServer) -> float:
    page = httpx.get(f"{server.endpoint.url}/metrics", trust_env=False).text
    name = "ferryman_prediction_log_dropped_total{"
    return sum(float(one.rpartition(" ")[2]) for one in page.splitlines() if one.startswith(name))
