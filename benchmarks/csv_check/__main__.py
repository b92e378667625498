"""`python -m benchmarks.csv_check [--rows N] [--rounds N]`: CPU time, as ratios within one run.

read      pyarrow reads the file with types of its own choice, on one thread
check     everything that is checked before a file is parsed: digest, encoding, shape
cells     what a check by Python's csv reader costs, row by row, beside digest and encoding

The file has 20 columns: numbers, whole numbers, categories; once plain and once with quoted texts.
"""

import argparse
import csv
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from ferryman.data.sources.delivery import Delivery, DigestedStream
from ferryman.data.sources.prechecks import check_file
from ferryman.data.sources.text_bytes import TextBytes
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.spec.sources import FilesSourceSpec


def write_file(file: Path, rows: int, *, quoted: bool) -> FilesSourceSpec:
    """Ten columns of numbers, five of whole numbers, five of texts."""
    random = np.random.default_rng(7)
    columns: dict[str, pa.Array] = {}
    for number in range(10):
        columns[f"number_{number}"] = pa.array(np.round(random.normal(size=rows), 4))
    for number in range(5):
        columns[f"whole_{number}"] = pa.array(random.integers(0, 10_000, rows))
        texts = np.array([f"category {value}" for value in range(50)])
        columns[f"text_{number}"] = pa.array(texts[random.integers(0, 50, rows)])
    style = pa.csv.WriteOptions(quoting_style="needed" if quoted else "none")
    pa.csv.write_csv(pa.table(columns), file, style)
    declared = {name: {"type": "text"} for name in columns}
    return FilesSourceSpec.model_validate({"kind": "files", "path": file.name, "columns": declared})


def check(file: Path, spec: FilesSourceSpec) -> int:
    delivery = Delivery(LocalObjectStore(file.parent), file.name)
    with delivery.opened() as stream:
        return check_file(delivery, stream, spec).rows


def read(file: Path, _: FilesSourceSpec) -> int:
    options = pa.csv.ReadOptions(use_threads=False)
    layout = pa.csv.ParseOptions(newlines_in_values=True)
    return int(pa.csv.read_csv(file, read_options=options, parse_options=layout).num_rows)


def cells(file: Path, spec: FilesSourceSpec) -> int:
    text = TextBytes(str(file))
    with file.open("rb") as stream:
        digested = DigestedStream(stream)
        while piece := digested.read():
            text.add(piece)
    with file.open(encoding="utf-8", newline="") as lines:
        return sum(len(row) == len(spec.columns) for row in csv.reader(lines, strict=True)) - 1


def cpu_seconds(work: Callable[[], int], rows: int) -> float:
    begin = time.process_time()
    if work() != rows:
        raise SystemExit("the rows were miscounted")
    return time.process_time() - begin


def peak_bytes(work: Callable[[], int]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    ways = {"read": read, "check": check, "cells": cells}
    with tempfile.TemporaryDirectory(prefix="ferryman-bench-") as folder:
        for quoted in (False, True):
            file = Path(folder) / ("quoted.csv" if quoted else "plain.csv")
            spec = write_file(file, given.rows, quoted=quoted)
            taken: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(given.rounds):
                for name, way in ways.items():
                    taken[name].append(cpu_seconds(partial(way, file, spec), given.rows))
            median = {name: statistics.median(values) for name, values in taken.items()}
            print(f"\n{file.name}: {given.rows} rows x 20 columns, {file.stat().st_size >> 20} MiB")
            for name, seconds in median.items():
                print(f"  {name:6}{seconds:7.2f} CPU s   {seconds / median['read']:6.2f} x read")
            peak = peak_bytes(partial(check, file, spec))
            print(f"  the check's memory peaks at {peak / (1 << 20):.1f} MiB")
            file.unlink()


if __name__ == "__main__":
    main()
