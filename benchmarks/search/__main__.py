"""`python -m benchmarks.search [--trials N] [--rounds R]`: what a search costs besides its fits.

overhead  milliseconds per trial of drawing, telling and logging in MLflow, for each method; the
          objective is a formula, so nothing else takes time. Tracking is a SQLite database.
gain      wall time of one worker over that of two, on the same trials (a random search draws the
          same points whoever draws them), each a fit and a score of boosted trees on one core.

Both are measured from the moment when all libraries are loaded. The goals, on two quiet cores: at
most 25 ms per trial, at least 1.6 times as fast.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.search.workload import declare, formula, tracked, worker
from ferryman.registry.mlflow_connection import prepare
from ferryman.steps.trial_log import TrialLog
from ferryman.training.search_study import SearchStudy
from ferryman.training.search_worker import work

METHODS = ("random", "grid", "tpe", "cma_es", "halving", "hyperband")


def wall(workers: int, trials: int, empty: Path) -> float:
    """Seconds from the first worker's first draw to the last one's end."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="ferryman-bench-") as folder:
        home, search = Path(folder), declare("random", trials)
        tracked(home, empty)
        SearchStudy(home / "study", search, 7)
        ready, timed = context.Barrier(workers), context.Queue()
        processes = [
            context.Process(target=worker, args=(home, search, index, ready, timed))
            for index in range(workers)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        spans = [timed.get(timeout=10) for _ in processes]
    return max(end for _, end in spans) - min(start for start, _ in spans)


def overhead(method: str, trials: int, empty: Path) -> float:
    """Milliseconds per trial of one worker whose objective is free."""
    with tempfile.TemporaryDirectory(prefix="ferryman-bench-") as folder:
        home, search = Path(folder), declare(method, trials)
        tracker, parent = tracked(home, empty)
        log = TrialLog(tracker, parent, search.metric)
        study = SearchStudy(home / "study", search, 7)
        start = time.perf_counter()
        work(study, search, 0, formula, log.add)
        log.flush()
        return (time.perf_counter() - start) / len(study.trials()) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ferryman-bench-") as folder:
        empty = Path(folder) / "empty.db"
        prepare(f"sqlite:///{empty}")
        measure(options.trials, options.rounds, empty)


def measure(trials: int, rounds: int, empty: Path) -> None:
    overhead("random", 5, empty)  # loads the libraries
    print(f"{trials} trials, {rounds} rounds, {os.cpu_count()} cores; medians")
    for method in METHODS:
        taken = [overhead(method, trials, empty) for _ in range(rounds)]
        print(f"overhead {method:10} {statistics.median(taken):6.1f} ms per trial")
    gains = []
    for _ in range(rounds):
        one, two = wall(1, trials, empty), wall(2, trials, empty)
        gains.append(one / two)
        print(f"one worker {one:6.2f} s, two workers {two:6.2f} s: {one / two:.2f} times as fast")
    print(f"gain {statistics.median(gains):.2f}")


if __name__ == "__main__":
    main()
