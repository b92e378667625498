"""`python -m benchmarks.profile [--rounds N]`: the profile of a file, against reading its columns.

15 columns of numbers (even, rounded, whole, skewed, mostly zero, with nulls) and 5 of categories,
written as snapshots are. CPU time of all threads; the profile's includes its own reading.

profile   `profile_file`: one pass, streamed
lean      reading only, as the profile does: dictionary-coded categories, one thread, by batches
table     reading only, as most would: `pyarrow.parquet.read_table`
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ferryman.data.windows.profile import profile_file
from ferryman.profiles.profiled_columns import BATCH
from ferryman.spec.data import FeatureSpec

ROWS = (1_000_000, 4_000_000)
ROW_GROUP = 128_000
WORDS = (3, 16, 100, 1_000, 5_000)
GOAL = 4.0
COLUMNS = {
    **{f"even_{n}": FeatureSpec(type="number") for n in range(4)},
    **{f"rounded_{n}": FeatureSpec(type="number") for n in range(3)},
    **{f"whole_{n}": FeatureSpec(type="integer") for n in range(3)},
    "mostly_zero": FeatureSpec(type="number"),
    "offset": FeatureSpec(type="number"),
    **{f"skewed_{n}": FeatureSpec(type="number") for n in range(3)},
    **{f"words_{n}": FeatureSpec(type="category") for n in WORDS},
}


def make_rows(random: np.random.Generator, rows: int) -> pa.Table:
    columns: dict[str, object] = {f"even_{n}": random.normal(n, 1, rows) for n in range(4)}
    for n in range(3):
        columns[f"rounded_{n}"] = np.round(random.normal(50, 15, rows), n)
        columns[f"whole_{n}"] = random.integers(0, (7, 1440, 1_000_000)[n], rows)
        skewed = random.lognormal(0, 1 + n, rows)
        columns[f"skewed_{n}"] = pa.array(skewed, mask=random.random(rows) < 0.05)
    columns["mostly_zero"] = np.where(random.random(rows) < 0.93, 0, random.exponential(1, rows))
    columns["offset"] = 1e9 + random.normal(0, 1, rows)
    for count in WORDS:
        share = np.arange(1, count + 1) ** -0.8
        places = random.choice(count, rows, p=share / share.sum()).astype(np.int32)
        names = pa.array([f"value {n}" for n in range(count)])
        columns[f"words_{count}"] = pa.DictionaryArray.from_arrays(places, names).cast(pa.string())
    return pa.table({name: columns[name] for name in COLUMNS})


def write_file(file: Path, rows: int) -> None:
    """Row group by row group, so that the largest file takes no more memory than the smallest."""
    random = np.random.default_rng(rows)
    writer = None
    for start in range(0, rows, ROW_GROUP):
        table = make_rows(random, min(ROW_GROUP, rows - start))
        writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
        writer.write_table(table)
    if writer:
        writer.close()


def read_lean(file: Path) -> None:
    words = [name for name, spec in COLUMNS.items() if spec.type == "category"]
    with pq.ParquetFile(
        file, read_dictionary=words, pre_buffer=False, buffer_size=1 << 20
    ) as stream:
        for _ in stream.iter_batches(BATCH, columns=list(COLUMNS), use_threads=False):
            pass


WAYS: dict[str, Callable[[Path], object]] = {
    "profile": lambda file: profile_file(file, COLUMNS),
    "lean": read_lean,
    "table": lambda file: pq.read_table(file, columns=list(COLUMNS)),
}


def measure_here(way: str, file: Path, rounds: int) -> None:
    """CPU and wall seconds of each round, after one that does not count, and the peak memory."""
    run = WAYS[way]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(file)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    cpu, wall = [], []
    for _ in range(rounds):
        start = time.process_time(), time.perf_counter()
        run(file)
        cpu.append(time.process_time() - start[0])
        wall.append(time.perf_counter() - start[1])
    print(json.dumps({"cpu": cpu, "wall": wall, "peak_mb": peak / 1024}))


def measure(way: str, file: Path, rounds: int) -> dict[str, float]:
    """In a process of its own, for the peak memory is that of a whole process."""
    command = [sys.executable, "-m", "benchmarks.profile", "--rounds", str(rounds)]
    command += ["--way", way, "--file", str(file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return {
        "cpu": statistics.median(found["cpu"]),
        "wall": statistics.median(found["wall"]),
        "peak_mb": found["peak_mb"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        measure_here(given.way, given.file, given.rounds)
        return
    found: dict[int, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="ferryman-bench-") as folder:
        for rows in ROWS:
            file = Path(folder) / f"{rows}.parquet"
            write_file(file, rows)
            found[rows] = {way: measure(way, file, given.rounds) for way in WAYS}
            file.unlink()
    report(found, given.rounds)


def report(found: dict[int, dict[str, dict[str, float]]], rounds: int) -> None:
    load = os.getloadavg()[1]
    print(f"{len(COLUMNS)} columns; median of {rounds} rounds, seconds (load {load:.1f})")
    print(f"{'rows':>10}  {'':10}{'CPU':>8}{'wall':>8}{'peak MB':>9}{'profile is':>12}")
    for rows, ways in found.items():
        for way, one in ways.items():
            ratio = ways["profile"]["cpu"] / one["cpu"]
            print(
                f"{rows:>10,}  {way:10}{one['cpu']:8.3f}{one['wall']:8.3f}{one['peak_mb']:9.0f}"
                f"{ratio:11.2f}x"
            )
    small, large = (found[rows]["profile"] for rows in ROWS)
    lean = found[ROWS[0]]["lean"]
    goals = {
        f"CPU of the profile {small['cpu'] / lean['cpu']:.2f} times that of lean reading, at most "
        f"{GOAL:g}": small["cpu"] <= GOAL * lean["cpu"],
        f"memory {large['peak_mb'] / small['peak_mb']:.2f} times at four times the rows, at most "
        "1.25": large["peak_mb"] <= 1.25 * small["peak_mb"],
    }
    for text, held in goals.items():
        print(f"{'held  ' if held else 'MISSED'}  {text}")


if __name__ == "__main__":
    main()
