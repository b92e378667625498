"""`python -m benchmarks.drift [--rounds N] [--without-evidently]`: comparing with a stored profile.

1 million rows of 12 columns of numbers and 8 of categories, as snapshots and the prediction log are
written. CPU time of all threads, the least of the rounds; the ways take turns within one process.

compare      the current file is read and compared with the reference's stored profile: population
             stability index, Kolmogorov or total variation, Wasserstein, of each column
two threads  the same, with its columns shared out
lean         reading only, as `compare` does: by column and batch, one thread, coded categories
table        reading only, as most would: `pyarrow.parquet.read_table`
scipy        ks_2samp and wasserstein_distance, or chi2_contingency, on raw arrays in memory
evidently    the drift preset of Evidently, in an environment of its own, on frames in memory
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.drift.accuracy import SHAPES, errors
from benchmarks.drift.contenders import WAYS, Material, compare, evidently_seconds
from benchmarks.drift.made_columns import COLUMNS, write_file
from ferryman.profiles.column_profile import profile_json
from ferryman.profiles.profiled_columns import profile_parquet

ROWS = 1_000_000
MORE = 4_000_000
MOVED = 0.2
READING, SCIPY, EVIDENTLY, PEAK_MB = 2.5, 20, 150, 64
KOLMOGOROV, RELATIVE = 0.002, 0.01

Seconds = dict[str, dict[str, float]]


def make(folder: Path, rows: int) -> Material:
    """Both files, and the reference's profile."""
    material = Material(
        *(folder / f"{name}-{rows}" for name in ("current", "reference", "profile"))
    )
    write_file(material.current, rows, MOVED, seed=2)
    write_file(material.reference, min(rows, ROWS), 0.0, seed=1)
    profile = profile_json(profile_parquet(material.reference, COLUMNS))
    material.profile.write_text(json.dumps(profile))
    return material


def measure(material: Material, rounds: int) -> Seconds:
    """The least CPU and wall seconds of each way, after one round that does not count."""
    found: Seconds = {name: {"cpu": float("inf"), "wall": float("inf")} for name in WAYS}
    for number in range(rounds + 1):
        for name, run in WAYS.items():
            if name == "scipy" and number not in (1, rounds):
                continue  # it takes as long as all others together
            start = time.process_time(), time.perf_counter()
            run(material)
            if number:
                spent = time.process_time() - start[0], time.perf_counter() - start[1]
                for kind, seconds in zip(("cpu", "wall"), spent, strict=True):
                    found[name][kind] = min(found[name][kind], seconds)
    return found


def peak_mb(material: Material) -> float:
    """What a comparison adds to a process that has loaded everything, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.drift", "--peak"]
    command += [str(file) for file in (material.current, material.reference, material.profile)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def print_peak(files: list[Path]) -> None:
    """The parent reads it. What is loaded once, by the first file, is not counted."""
    with tempfile.TemporaryDirectory(prefix="ferryman-bench-") as folder:
        compare(make(Path(folder), 1_000))
    before = _high_water()
    compare(Material(*files))
    print((_high_water() - before) / 1024)


def _high_water() -> int:
    """The largest resident memory so far, kB; getrusage would tell that of the parent too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def print_speed(found: Seconds, peaks: dict[int, float], rounds: int) -> dict[str, bool]:
    """The table, and which goals were reached."""
    ours = found["compare"]["cpu"]
    print(f"{ROWS:,} rows x {len(COLUMNS)} columns; least of {rounds} rounds, seconds", end="")
    print(f" (load {os.getloadavg()[0]:.1f})")
    print(f"{'':14}{'CPU':>9}{'wall':>9}{'compare is':>13}")
    for name, one in found.items():
        ratio = ours / one["cpu"]
        told = f"{ratio:12.2f}x" if ratio > 0.2 else f"{f'1/{1 / ratio:.0f}':>13}"
        print(f"{name:14}{one['cpu']:9.3f}{one['wall']:9.3f}{told}")
    for rows, peak in peaks.items():
        print(f"compare, {rows:,} rows: {peak:.0f} MB over baseline")
    lean = ours / found["lean"]["cpu"]
    goals = {
        f"CPU {lean:.2f} times that of lean reading, at most {READING:g}": lean <= READING,
        f"1/{found['scipy']['cpu'] / ours:.0f} of scipy's CPU, at most 1/{SCIPY}": ours * SCIPY
        <= found["scipy"]["cpu"],
    }
    if "evidently" in found:
        share = found["evidently"]["cpu"] / ours
        goals[f"1/{share:.0f} of Evidently's CPU, at most 1/{EVIDENTLY}"] = share >= EVIDENTLY
    if peaks:
        goals[f"memory {max(peaks.values()):.0f} MB, at most {PEAK_MB}"] = (
            max(peaks.values()) <= PEAK_MB
        )
    return goals


def print_accuracy() -> dict[str, bool]:
    """How far stored profiles lie from the rows, in one part and merged of seven."""
    print(f"\n{'against the rows':16}{'Kolmogorov':>12}{'PSI':>10}{'Wasserstein':>13}", end="")
    print("   (the rows' own)          errors merged of 7 days")
    worst = [0.0, 0.0]
    for shape in SHAPES:
        whole, parts = (errors(shape, ROWS, merged=merged) for merged in (False, True))
        exact = "  ".join(f"{value:.4g}" for value in whole.exact)
        print(f"{shape:16}{whole.kolmogorov:12.5f}{whole.stability:10.3%}", end="")
        print(f"{whole.wasserstein:13.3%}   ({exact})".ljust(42), end="")
        print(f"{parts.kolmogorov:9.5f} {parts.stability:8.3%} {parts.wasserstein:8.3%}")
        for one in (whole, parts):
            worst[0] = max(worst[0], one.kolmogorov)
            if shape != "unmoved":  # 1 % of what chance alone moves is no bound
                worst[1] = max(worst[1], one.stability, one.wasserstein)
    return {
        f"Kolmogorov within {worst[0]:.4f}, at most {KOLMOGOROV}": worst[0] <= KOLMOGOROV,
        f"PSI and Wasserstein within {worst[1]:.2%}, at most {RELATIVE:.0%}": worst[1] <= RELATIVE,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-evidently", action="store_true")
    parser.add_argument("--quick", action="store_true", help="speed beside reading and scipy only")
    parser.add_argument("--peak", nargs=3, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:
        print_peak(given.peak)
        return
    with tempfile.TemporaryDirectory(prefix="ferryman-bench-") as folder:
        material = make(Path(folder), ROWS)
        found = measure(material, given.rounds)
        if not (given.quick or given.without_evidently):
            cache = Path.home() / ".cache" / "ferryman" / "evidently"
            found["evidently"] = evidently_seconds(material, cache)
        peaks = {ROWS: peak_mb(material)}
        peaks |= {} if given.quick else {MORE: peak_mb(make(Path(folder), MORE))}
    goals = print_speed(found, peaks, given.rounds)
    goals |= {} if given.quick else print_accuracy()
    print()
    for text, held in goals.items():
        print(f"{'held  ' if held else 'MISSED'}  {text}")


if __name__ == "__main__":
    main()
