"""Files that must not be taken: what is done to a good one, and the exact text that it gives."""
# ruff: noqa: E501 - each text stands on one line, as it is given

import gzip

import pyarrow as pa
from deliveries import (
    CSV,
    CUT,
    HEADER,
    LINES,
    PACKED,
    PARQUET,
    RIGHT,
    SMALL,
    Damage,
    cell,
    long_parquet,
    parquet,
    spoilt,
    table,
    value,
)

# Cut off: the end of a file, of a row, of a number.
CUT_OFF = {
    "cut in a row": Damage(
        "FILE: line 4, the last, does not end with a newline: it was cut off", CUT
    ),
    "cut in a number": Damage(
        "FILE: line 4, the last, does not end with a newline: it was cut off", CSV[:-4]
    ),
    "cut behind a whole line": Damage(
        "FILE: bytes is 89, its manifest says 123", CSV[:-34], manifest=RIGHT
    ),
    "cut, rows by the manifest": Damage(
        "FILE: rows is 2, its manifest says 3", CSV[:-32], manifest={"rows": 3}
    ),
    "cut row with an end": Damage("FILE: line 4 has 1 field, header has 4", CUT + b"\n"),
    "cut in a quoted cell": Damage(
        "FILE: line 4: a quoted cell is never closed: the file was cut off", cell(4, 1, '"north')
    ),
    "cut in a character": Damage(
        "FILE: the file ends inside a UTF-8 character: it was cut off",
        CSV + "2013-01-02T19:00:00Z,ö".encode()[:-1],
    ),
    "cut in JSON": Damage(
        "FILE: line 3, the last, does not end with a newline: it was cut off", LINES[:-9], "jsonl"
    ),
    "cut in Parquet": Damage(
        "FILE: truncated: a Parquet file ends with b'PAR1', this one with b'\\x00\\x1c\\x00\\x00'",
        PARQUET[:-9],
        "parquet",
    ),
    "cut in gzip": Damage(
        "FILE: truncated: the gzip data ends before its end mark", PACKED[:-9], "csv.gz"
    ),
    "Parquet of four bytes": Damage(
        "FILE: truncated: a Parquet file ends with b'PAR1', this one has 4 bytes in all",
        b"PAR1",
        "parquet",
    ),
}
# What the manifest says, and what came.
MANIFESTS = {
    "other bytes": Damage(
        "FILE: bytes is 123, its manifest says 1", CSV, manifest={**RIGHT, "bytes": 1}
    ),
    "other checksum": Damage(
        f"FILE: sha256 is {RIGHT['sha256']}, its manifest says 0000000000000000000000000000000000000000000000000000000000000000",
        CSV,
        manifest={**RIGHT, "sha256": "0" * 64},
    ),
    "other rows": Damage(
        "FILE: rows is 3, its manifest says 4", CSV, manifest={**RIGHT, "rows": 4}
    ),
    "other rows of gzip": Damage(
        "FILE: rows is 3, its manifest says 4", PACKED, "csv.gz", manifest={"rows": 4}
    ),
    "other rows of JSON": Damage(
        "FILE: rows is 3, its manifest says 4", LINES, "jsonl", manifest={"rows": 4}
    ),
    "other rows of Parquet": Damage(
        "FILE: rows is 3, its manifest says 4", PARQUET, "parquet", manifest={"rows": 4}
    ),
    "no manifest": Damage(
        "FILE: no manifest 2013-01-02.csv.manifest.json beside it",
        CSV,
        declared={"manifest": "required"},
    ),
    "empty manifest": Damage(
        "FILE.manifest.json: holds none of bytes, sha256 and rows",
        CSV,
        manifest={},
        declared={"manifest": "required"},
    ),
    "unknown key in the manifest": Damage(
        "FILE.manifest.json: holds another key than bytes, sha256, rows: 'md5'",
        CSV,
        manifest={"md5": "0"},
    ),
}
# Bytes that are no text of ours.
BYTES = {
    "empty": Damage("FILE: the file is empty (0 bytes)", b""),
    "NUL": Damage("FILE: byte 71, line 3: a NUL byte", CSV[:70] + b"\0" + CSV[70:]),
    "Latin-1": Damage("FILE: byte 71, line 3: not UTF-8 text", CSV[:70] + b"\xe9" + CSV[70:]),
    "UTF-16": Damage("FILE: byte 1: the file is UTF-16", CSV.decode().encode("utf-16")),
    "byte order mark": Damage(
        "FILE: byte 1: the file is UTF-8 with a byte order mark", b"\xef\xbb\xbf" + CSV
    ),
    "not gzip": Damage("FILE: not gzip data", CSV, "csv.gz"),
    "gzip with a tail": Damage(
        "FILE: within the first 153 bytes: no gzip data follows the gzip data",
        PACKED + b"garbage",
        "csv.gz",
    ),
    "gzip with a wrong sum": Damage(
        f"FILE: within the first {len(PACKED)} bytes: damaged gzip data: CRC check failed 0xb83fe4e5 != 0x47c01b1a",
        spoilt(PACKED, -8),
        "csv.gz",
    ),
    "gzip garbled": Damage(
        f"FILE: within the first {len(PACKED)} bytes: damaged gzip data: CRC check failed 0x47c01b1a != 0x8dea92ec",
        spoilt(PACKED, 20),
        "csv.gz",
    ),
    "gzip of nothing": Damage(
        "FILE: the file is empty (0 bytes after unpacking)", gzip.compress(b"", mtime=0), "csv.gz"
    ),
    "gzip above the ratio": Damage(
        f"FILE: unpacks to more than 200 times its {len(SMALL)} bytes", SMALL, "csv.gz"
    ),
    "gzip above the size": Damage(
        "FILE: unpacks to more than max_bytes, 1000000",
        SMALL,
        "csv.gz",
        declared={"max_bytes": 1_000_000},
    ),
    "too large": Damage(
        "FILE: 123 bytes are more than max_bytes, 100", CSV, declared={"max_bytes": 100}
    ),
    "Parquet that unpacks large": Damage(
        "FILE: unpacks to 280000 bytes, more than max_bytes, 100000",
        long_parquet(10_000),
        "parquet",
        declared={"max_bytes": 100_000},
    ),
    "not Parquet": Damage(
        "FILE: not a Parquet file: it begins with b'seen', not b'PAR1'", CSV, "parquet"
    ),
    "Parquet with a garbled footer": Damage(
        "FILE: damaged Parquet footer: ...", spoilt(PARQUET, -60), "parquet"
    ),
    "Parquet with a garbled page": Damage("FILE: damaged: ...", spoilt(PARQUET, 12), "parquet"),
}
# The shape: header, fields, quotes, lines.
SHAPES = {
    "header only": Damage("FILE: the file has a header and no rows", HEADER),
    "extra field": Damage(
        "FILE: line 2 has 5 fields, header has 4",
        HEADER + CSV.removeprefix(HEADER).replace(b"\n", b",1\n"),
    ),
    "missing field": Damage("FILE: line 3 has 3 fields, header has 4", CSV.replace(b",3\n", b"\n")),
    "blank line": Damage("FILE: line 4 is empty", CSV.replace(b",3\n", b",3\n\n")),
    "other separator": Damage(
        "FILE: line 1: fields are separated by ';', not by a comma", CSV.replace(b",", b";")
    ),
    "quote in a cell": Damage(
        "FILE: line 3: a quote inside a cell that does not begin with one", cell(3, 1, 'sou"th')
    ),
    "text behind a quote": Damage(
        "FILE: line 3: text after the closing quote of a cell; a quote inside is written twice",
        cell(3, 1, '"sou"th'),
    ),
    "carriage returns": Damage(
        "FILE: line 1: a carriage return without a newline", CSV.replace(b"\n", b"\r")
    ),
    "row without end": Damage("FILE: line 3: longer than 1 MiB", cell(3, 1, "x" * (3 << 20))),
    "column missing": Damage(
        "FILE: line 1: column 'rain' is missing",
        b"\n".join(r.rpartition(b",")[0] for r in CSV.splitlines()) + b"\n",
    ),
    "column renamed": Damage(
        "FILE: line 1: column 'humidity' is missing (renamed to 'humidty'?); column 'humidty' is not declared; did you mean 'humidity'?",
        CSV.replace(b"humidity", b"humidty"),
    ),
    "column added": Damage(
        "FILE: line 1: column 'gust' is not declared",
        CSV.replace(b"rain\n", b"rain,gust\n").replace(b",0\n", b",0,1\n"),
    ),
    "column twice": Damage(
        "FILE: line 1: column 'station' stands twice; column 'humidity' is missing",
        CSV.replace(b"humidity", b"station"),
    ),
    "column missing in Parquet": Damage(
        "FILE: column 'rain' is missing", parquet(rain=None), "parquet"
    ),
    "column added to Parquet": Damage(
        "FILE: column 'gust' is not declared", parquet(gust=pa.array([1, 2, 3])), "parquet"
    ),
    "no rows in Parquet": Damage("FILE: the file has no rows", long_parquet(0), "parquet"),
    "key missing": Damage(
        "FILE: line 2: column 'rain' is missing", LINES.replace(b', "rain": 3', b""), "jsonl"
    ),
    "key added": Damage("FILE: line 2: column 'gust' is not declared", value(2, gust=1), "jsonl"),
    "key twice": Damage(
        "FILE: line 2 is not JSON: the key 'rain' twice in one object",
        LINES.replace(b'"rain": 3', b'"rain": 3, "rain": 4'),
        "jsonl",
    ),
    "blank line in JSON": Damage(
        "FILE: line 2 is empty", LINES.replace(b"\n", b"\n\n", 1), "jsonl"
    ),
    "list for an object": Damage(
        "FILE: line 1 is not a JSON object: it does not begin with '{'", b"[]\n" + LINES, "jsonl"
    ),
    "nested value": Damage(
        "FILE: line 2 has a list or an object in column 'rain'; a cell is one value",
        value(2, rain={"mm": 3}),
        "jsonl",
    ),
    "NaN in JSON": Damage(
        "FILE: line 2 is not JSON: NaN, which is no JSON number",
        value(2, humidity=float("nan")),
        "jsonl",
    ),
}
# Cells that are not what was declared.
CELLS = {
    "text in a number": Damage(
        "FILE: column 'humidity', line 3: 'damp' is no finite number (1 of 3 rows are bad: 1 to drop)",
        cell(3, 2, "damp"),
    ),
    "NA in a number": Damage(
        "FILE: column 'humidity', line 3: 'NA' is no finite number (1 of 3 rows are bad: 1 to drop)",
        cell(3, 2, "NA"),
    ),
    "more than 64 bits": Damage(
        "FILE: column 'rain', line 3: '9999999999999999999999999' is no whole number of 64 bits (1 of 3 rows are bad: 1 to drop)",
        cell(3, 3, "9" * 25),
    ),
    "beyond every float": Damage(
        "FILE: column 'humidity', line 3: '1e400' is no finite number (1 of 3 rows are bad: 1 to drop)",
        cell(3, 2, "1e400"),
    ),
    "null": Damage(
        "FILE: column 'station', line 3: null is null, and the column is not nullable (1 of 3 rows are bad: 1 to drop)",
        cell(3, 1, ""),
    ),
    "time without a zone": Damage(
        "FILE: column 'seen', line 3: '2013-01-02 05:00:00' is no time with a zone, such as 2013-01-31T09:05:00Z (1 of 3 rows are bad: 1 to drop)",
        cell(3, 0, "2013-01-02 05:00:00"),
    ),
    "formula in a number": Damage(
        "FILE: column 'humidity', line 3: '=1+1' is no finite number (1 of 3 rows are bad: 1 to drop)",
        cell(3, 2, "=1+1"),
    ),
    "text in a number of JSON": Damage(
        "FILE: column 'humidity', line 2: \"71\" is no finite number (1 of 3 rows are bad: 1 to drop)",
        value(2, humidity="71"),
        "jsonl",
    ),
    "number in a text of JSON": Damage(
        "FILE: column 'station', line 2: 7 is no text (1 of 3 rows are bad: 1 to drop)",
        value(2, station=7),
        "jsonl",
    ),
    "more than 64 bits in JSON": Damage(
        "FILE: column 'rain', line 2: 9223372036854775808 is no whole number of 64 bits (1 of 3 rows are bad: 1 to drop)",
        value(2, rain=2**63),
        "jsonl",
    ),
    "beyond every float in JSON": Damage(
        "FILE: column 'humidity', line 1: inf is no finite number (1 of 3 rows are bad: 1 to drop)",
        LINES.replace(b"71.5", b"1e400"),
        "jsonl",
    ),
    "text in a number of Parquet": Damage(
        "FILE: column 'humidity' is stored as string, but is declared number, row 2: 'damp'",
        parquet(humidity=pa.array(["71", "damp", "48"])),
        "parquet",
    ),
    "fraction in Parquet": Damage(
        "FILE: column 'rain', row 2: 2.5 is no whole number of 64 bits (1 of 3 rows are bad: 1 to drop)",
        parquet(rain=pa.array([0, 2.5, 1])),
        "parquet",
    ),
    "null in Parquet": Damage(
        "FILE: column 'station', row 2: null is null, and the column is not nullable (1 of 3 rows are bad: 1 to drop)",
        parquet(station=pa.array(["a", None, "b"])),
        "parquet",
    ),
    "time without a zone in Parquet": Damage(
        "FILE: column 'seen' is stored as timestamp[us] without a time zone, but is declared timestamp, row 1: 2013-01-02 06:00:00",
        parquet(seen=table().column("seen").cast(pa.timestamp("us"))),
        "parquet",
    ),
    "no row of the day": Damage(
        "source 'days' has no row in [2013-01-02T00:00:00Z, 2013-01-03T00:00:00Z)",
        CSV.replace(b"01-02T", b"01-03T"),
    ),
    "a row twice": Damage(
        "DIR/zoo/tiny/features.sql: 1 events stand more than once, the first 2 times (rows 3 and 4): 'north|2013-01-02T18:00:00Z'",
        CSV + CSV.splitlines(keepends=True)[-1],
    ),
}
DAMAGES = {**CUT_OFF, **MANIFESTS, **BYTES, **SHAPES, **CELLS}
