"""A batch that is killed while it scores leaves nothing behind that looks like scores."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from served_world import ServedWorld

from ferryman.settings import Settings

ROWS = 1_500_000


def test_a_killed_batch_leaves_nothing_and_is_done_again(tmp_path: Path, make_bundle: Any) -> None:
    settings = Settings(home=tmp_path / "home", zoo=tmp_path / "zoo")
    ServedWorld(settings, make_bundle)
    random = np.random.default_rng(1)
    sources = tmp_path / "sources"
    sources.mkdir()
    rows = {
        "carrier": random.choice(["UA", "AA", "B6"], ROWS).tolist(),
        "distance": random.uniform(100, 2500, ROWS),
        "hour": random.integers(5, 23, ROWS),
    }
    pq.write_table(pa.table(rows), sources / "many.parquet")
    command = [sys.executable, "-m", "ferryman.cli", "run", "scoring", "--model", "tiny"]
    environment = {
        **os.environ,
        "FERRYMAN_HOME": str(settings.home),
        "FERRYMAN_ZOO": str(settings.zoo),
        "FERRYMAN_SOURCE_ROOT": str(sources),
    }
    given = [*command, "-p", "file=many.parquet"]
    process = subprocess.Popen(given, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while not any(file.stat().st_size for file in _begun(settings)):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    kept = settings.data_root / "tiny" / "scores"
    assert not kept.is_dir() or not list(kept.iterdir())
    again = subprocess.run(given, env=environment, capture_output=True, text=True, check=True)
    assert again.stdout.strip() == f"batch_score done: {ROWS} rows scored with version 2, champion"
    [scores] = kept.glob("*.parquet")
    assert pq.read_metadata(scores).num_rows == ROWS
    assert len(list(kept.glob("*.json"))) == 1


def _begun(settings: Settings) -> list[Path]:
    return list(settings.runs_root.glob("tiny/scoring/*/batch_score/*/scores.parquet"))
