"""The ways that are measured: each takes a material and does its work once."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import stats

from benchmarks.drift.made_columns import COLUMNS
from ferryman.profiles.column_profile import read_profile
from ferryman.profiles.comparison import compare_parquet
from ferryman.profiles.profiled_columns import BATCH

_HERE = Path(__file__).resolve().parent
_WORDS = [name for name, spec in COLUMNS.items() if spec.type == "category"]


@dataclass(frozen=True)
class Material:
    """A current file, a reference file, and the reference's stored profile."""

    current: Path
    reference: Path
    profile: Path

    @cached_property
    def arrays(self) -> dict[str, tuple[Any, Any]]:
        """Raw values without nulls, reference and current: numbers, or places of categories."""
        tables = [pq.read_table(file) for file in (self.reference, self.current)]
        found = {}
        for name in COLUMNS:
            one, other = (table[name].combine_chunks().drop_null() for table in tables)
            if name in _WORDS:
                names = pc.unique(one)
                one, other = (pc.index_in(side, value_set=names) for side in (one, other))
                one, other = (pc.fill_null(side, len(names)) for side in (one, other))
            found[name] = (one.to_numpy(zero_copy_only=False), other.to_numpy(zero_copy_only=False))
        return found


def compare(material: Material, threads: int = 1) -> object:
    """Ours: from files and the stored profile to each column's distances."""
    reference = read_profile(json.loads(material.profile.read_text()))
    return compare_parquet(material.current, COLUMNS, reference, threads=threads)


def read_lean(material: Material) -> object:
    """Reading the current file's columns and nothing else, as lean as it goes."""
    rows = 0
    with pq.ParquetFile(
        material.current, read_dictionary=_WORDS, pre_buffer=False, buffer_size=1 << 20
    ) as stream:
        for name in COLUMNS:
            for batch in stream.iter_batches(BATCH, columns=[name], use_threads=False):
                rows += batch.num_rows
    return rows


def read_table(material: Material) -> object:
    """Reading the current file's columns as most would."""
    return pq.read_table(material.current, columns=list(COLUMNS))


def plain_scipy(material: Material) -> object:
    """A test and a distance a column on raw arrays that were read, and words coded, before."""
    found: dict[str, tuple[float, float]] = {}
    for name, (one, other) in material.arrays.items():
        if name in _WORDS:
            bins = int(max(one.max(), other.max())) + 1
            counts = np.stack([np.bincount(side, minlength=bins) for side in (one, other)])
            test = stats.chi2_contingency(counts[:, counts.any(axis=0)])
            found[name] = (float(test.statistic), float(test.pvalue))
        else:
            distance = stats.ks_2samp(one, other).statistic
            found[name] = (float(distance), float(stats.wasserstein_distance(one, other)))
    return found


WAYS: dict[str, Callable[[Material], object]] = {
    "compare": compare,
    "two threads": lambda material: compare(material, threads=2),
    "lean": read_lean,
    "table": read_table,
    "scipy": plain_scipy,
}


def evidently_seconds(material: Material, cache: Path) -> dict[str, float]:
    """CPU and wall seconds of Evidently's drift report on the same two files, read before."""
    python = _evidently_python(cache)
    command = [str(python), "-W", "ignore", str(_HERE / "evidently_report.py")]
    command += [str(material.reference), str(material.current), *_WORDS]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _evidently_python(cache: Path) -> Path:
    """The interpreter of Evidently's environment, made once in a cache folder."""
    python = cache / "bin" / "python"
    if not (cache / "finished").is_file():
        uv = str(Path(sys.executable).parent / "uv")
        subprocess.run([uv, "venv", "--python", sys.executable, str(cache)], check=True)
        listed = str(_HERE / "requirements-evidently.txt")
        subprocess.run([uv, "pip", "install", "--python", str(python), "-r", listed], check=True)
        (cache / "finished").touch()
    return python
