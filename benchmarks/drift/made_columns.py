"""Made data: 12 columns of numbers and 8 of categories, and the same moved a little."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ferryman.spec.data import FeatureSpec

Floats = np.ndarray
Make = Callable[[np.random.Generator, int, float], Floats]
ROW_GROUP = 128_000
NULLS = 0.05


def _mixture(random: np.random.Generator, rows: int, moved: float) -> Floats:
    second = random.random(rows) < 0.3 + moved / 5
    return np.where(second, random.normal(8, 0.5, rows), random.normal(0, 2, rows))


def _mostly_zero(random: np.random.Generator, rows: int, moved: float) -> Floats:
    zero = random.random(rows) < 0.93 - moved / 10
    return np.where(zero, 0.0, random.exponential(1 + moved, rows))


# Each takes how far it is moved: 0 is the reference.
NUMBERS: dict[str, Make] = {
    "normal": lambda r, n, m: r.normal(m, 1, n),
    "unmoved": lambda r, n, _: r.normal(3, 2, n),
    "nulls": lambda r, n, m: np.where(r.random(n) < NULLS, np.nan, r.normal(5, 1 + m, n)),
    "offset": lambda r, n, m: 1e9 + r.normal(m, 1, n),
    "rounded": lambda r, n, m: np.round(r.normal(50, 15 + 5 * m, n), 1),
    "lognormal": lambda r, n, m: r.lognormal(m / 2, 1, n),
    "heavy_tail": lambda r, n, m: r.lognormal(m, 2, n),
    "student": lambda r, n, m: r.standard_t(2, n) + m,
    "minutes": lambda r, n, m: np.minimum(r.integers(0, 1440, n) + int(60 * m), 1439),
    "ties": lambda r, n, m: r.poisson(4 + m, n),
    "mostly_zero": _mostly_zero,
    "mixture": _mixture,
}
INTEGERS = ("minutes", "ties")
WORDS = (3, 8, 16, 50, 100, 400, 1_000, 5_000)
COLUMNS = {
    **{name: FeatureSpec(type="integer" if name in INTEGERS else "number") for name in NUMBERS},
    **{f"words_{count}": FeatureSpec(type="category") for count in WORDS},
}


def make_table(random: np.random.Generator, rows: int, moved: float) -> pa.Table:
    """So many rows of all columns, as a pyarrow Table; NaN is null."""
    columns = {
        name: pa.array(make(random, rows, moved), from_pandas=True)
        for name, make in NUMBERS.items()
    }
    for count in WORDS:
        share = np.arange(1, count + 1) ** -(0.8 + moved / 4)
        places = random.choice(count, rows, p=share / share.sum()).astype(np.int32)
        mask = random.random(rows) < (NULLS if count == 16 else 0)
        names = pa.array([f"value {place}" for place in range(count)])
        coded = pa.DictionaryArray.from_arrays(pa.array(places, mask=mask), names)
        columns[f"words_{count}"] = coded.cast(pa.string())
    return pa.table(columns)


def write_file(file: Path, rows: int, moved: float, seed: int) -> None:
    """Row group by row group, so that the largest file takes no more memory than the smallest."""
    random = np.random.default_rng(seed)
    writer = None
    for start in range(0, rows, ROW_GROUP):
        table = make_table(random, min(ROW_GROUP, rows - start), moved)
        writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
        writer.write_table(table)
    if writer:
        writer.close()
