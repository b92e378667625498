"""A delivery of two days with planted defects, and what cleaning must say of each."""

import csv
import datetime as dt
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

Form = Literal["csv", "parquet"]
Row = dict[str, Any]
ROWS = 600  # a day
FIRST = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
PAYLOADS = (
    '=HYPERLINK("http://x")',
    "{{ ti.xcom_pull('x') }}",
    "$(touch /tmp/ferryman_was_here)",
    "'; DROP TABLE rows; --",
)

MODEL = """\
spec_version: 1
name: plant
description: Rows with planted defects.
owner: {{team: tests, contact: tests@example.org}}
data:
  max_rejected: {share}
  sources:
    rows:
      kind: files
      path: rows.{form}
      event_time: at
      lookback: 1d
      key: [sensor, number]
      columns:
        at: {{type: timestamp}}
        sensor: {{type: category, values: [north, south]}}
        number: {{type: integer}}
        sort: {{type: category, values: [dry, wet], invalid: "null", nullable: true}}
        heat: {{type: number, min: -50, max: 130}}
        level: {{type: number, min: 0, max: 100, invalid: clip}}
        count: {{type: integer, min: 0, invalid: "null", nullable: true}}
        rain: {{type: number, fill: 0}}
        wind: {{type: number, outliers: {{method: iqr}}}}
        gust: {{type: integer, outliers: {{method: mad, factor: 6, action: clip}}}}
        press:
          type: number
          nullable: true
          outliers: {{method: zscore, factor: 8, action: "null"}}
        alarm: {{type: boolean}}
        note: {{type: text, nullable: true}}
        result: {{type: integer, nullable: true, known: later}}
  label: {{name: good, sql: labels.sql, known_after: 1d}}
features:
  sql: features.sql
  entity: [sensor, number]
  columns:
    heat: {{type: number}}
    level: {{type: number}}
    rain: {{type: number}}
    gust: {{type: integer}}
    press: {{type: number}}
    sort: {{type: category}}
    note: {{type: category}}
train:
  framework: sklearn
  task: binary
  pipeline: pipeline.py:build
  window: 4d
  holdout: 2d
gates:
  thresholds: {{roc_auc: {{min: 0.5}}}}
"""
FEATURES = """\
SELECT "at" AS event_time, sensor, number, heat, level, rain, gust, press, sort, note FROM rows
"""
LABELS = 'SELECT "at" AS event_time, sensor, number, result > 0 AS good FROM rows'


@dataclass(frozen=True)
class Defect:
    """One planted defect: the cells that it sets, and the reasons that must be told of its row."""

    cells: Mapping[str, Any]
    reasons: tuple[tuple[str | None, str], ...]  # column and reason
    fate: Literal["dropped", "changed"]
    times: int = 1
    copies: Mapping[str, Any] | None = None  # a second row, equal but for these cells
    only: Form | None = None


def one(column: str, value: Any, reason: str, fate: str, **more: Any) -> Defect:
    return Defect({column: value}, ((column, reason),), fate, **more)  # type: ignore[arg-type]


NO_NUMBER, NO_INTEGER = "is no finite number", "is no whole number of 64 bits"
NULL = "is null, and the column is not nullable"
IDENTICAL = "duplicate key: the row is there already, cell by cell"
DIFFERING = "duplicate key: another row of this key stays, and differs"
NO_TIME = "is null, and without a time a row belongs to no window"
UNKNOWN = "is none of the declared values"
DEFECTS = (
    one("heat", "mild", NO_NUMBER, "dropped", times=3, only="csv"),
    one("heat", "NA", NO_NUMBER, "dropped", only="csv"),
    one("heat", "1e400", NO_NUMBER, "dropped", only="csv"),
    one("heat", float("inf"), NO_NUMBER, "dropped", times=4, only="parquet"),
    one("number", "9" * 25, NO_INTEGER, "dropped", only="csv"),
    one("number", "12.5", NO_INTEGER, "dropped", only="csv"),
    one("alarm", "perhaps", "is neither true nor false", "dropped", times=2, only="csv"),
    one("at", "yesterday", "is no time with a zone, such as 2013-01-31T09:05:00Z", "dropped",
        times=2, only="csv"),
    one("at", "2026-03-02T11:00:00", "is no time with a zone, such as 2013-01-31T09:05:00Z",
        "dropped", only="csv"),
    one("at", None, NO_TIME, "dropped", times=2),
    one("heat", -60.0, "is below -50", "dropped", times=2),
    one("heat", 130.5, "is above 130", "dropped"),
    one("heat", None, NULL, "dropped", times=3),
    one("sensor", "west", UNKNOWN, "dropped", times=2),
    *(one("sensor", payload, UNKNOWN, "dropped") for payload in PAYLOADS),
    one("sort", "snow", UNKNOWN, "changed", times=4),
    one("level", -0.5, "is below 0", "changed", times=2),
    one("level", 170.0, "is above 100", "changed", times=3),
    one("level", "full", NO_NUMBER, "dropped", only="csv"),
    one("count", -1, "is below 0", "changed", times=2),
    one("count", "many", NO_INTEGER, "changed", times=2, only="csv"),
    one("rain", None, "is null, filled with 0", "changed", times=5),
    one("wind", 999.0, "is an outlier (iqr, 3)", "dropped", times=2),
    one("wind", -999.0, "is an outlier (iqr, 3)", "dropped"),
    one("gust", 900, "is an outlier (mad, 6)", "changed", times=2),
    one("press", 50_000.0, "is an outlier (zscore, 8)", "changed"),
    Defect({}, ((None, IDENTICAL),), "dropped", times=3, copies={}),
    Defect({}, ((None, DIFFERING),), "dropped", times=2, copies={"note": "again"}),
    # Two defects in one row: it counts once, under both reasons.
    Defect(
        {"heat": 131.0, "rain": None},
        (("heat", "is above 130"), ("rain", "is null, filled with 0")),
        "dropped",
    ),
    Defect(
        {"level": 101.0, "sort": "hail"},
        (("sort", UNKNOWN), ("level", "is above 100")),
        "changed",
    ),
)  # fmt: skip


@dataclass
class Plant:
    """The rows as they are delivered, and what must be found of the second day's."""

    form: Form
    rows: list[Row] = field(default_factory=list)
    planted: dict[int, Defect] = field(default_factory=dict)  # by row, counted from 0

    def counts(self) -> dict[str, int]:
        """Rows by reason, as the report must tell."""
        found: dict[str, int] = {}
        for defect in self.planted.values():
            for column, reason in defect.reasons:
                name = reason if column is None else f"column {column!r}: {reason}"
                found[name] = found.get(name, 0) + 1
        return found

    def fates(self, fate: str) -> int:
        """How many rows have a fate."""
        return sum(defect.fate == fate for defect in self.planted.values())

    def place(self, row: int) -> str:
        """Where a row stands in the file."""
        return f"line {row + 2}" if self.form == "csv" else f"row {row + 1}"

    def deliver(self, folder: Path) -> None:
        """Write the file."""
        names = list(self.rows[0])
        if self.form == "csv":
            with (folder / "rows.csv").open("w", newline="") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                writer.writerow(names)
                writer.writerows([[as_text(row[name]) for name in names] for row in self.rows])
        else:
            table = pa.table({name: pa.array([row[name] for row in self.rows]) for name in names})
            pq.write_table(table, folder / "rows.parquet", row_group_size=500)


def as_text(cell: Any) -> str:
    """A cell as CSV holds it."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    return cell.isoformat() if isinstance(cell, dt.datetime) else str(cell)


def plant(form: Form) -> Plant:
    """Two days of good rows, every defect in both; those of the first are of the lookback."""
    dice = random.Random(7)  # noqa: S311 - no secret is made of it
    made = Plant(form)
    for day in (0, 1):
        good = [_row(day, number, dice) for number in range(ROWS)]
        spots = iter(range(20, ROWS, 4))
        for defect in DEFECTS:
            if defect.only not in (None, form):
                continue
            for _ in range(defect.times):
                good[next(spots)].update(defect=defect, **defect.cells)
        # A row without a readable time belongs to no day: only the second day has some.
        for row in good:
            defect = row.pop("defect", None)
            if defect is not None and "at" in defect.cells and day == 0:
                row["at"] = FIRST
                defect = None
            made.rows.append(row)
            if defect is None:
                continue
            if defect.copies is not None:
                made.rows.append({**row, **defect.copies})
            if day == 1:
                made.planted[len(made.rows) - 1] = defect
    return made


def _row(day: int, number: int, dice: random.Random) -> Row:
    return {
        "at": FIRST + dt.timedelta(days=day, minutes=number),
        "sensor": dice.choice(["north", "south"]),
        "number": number,
        "sort": dice.choice(["dry", "wet", None]),
        "heat": round(dice.uniform(-50, 130), 2),
        "level": round(dice.uniform(0, 100), 2),
        "count": dice.choice([0, 3, 8, None]),
        "rain": round(dice.uniform(0, 9), 1),
        "wind": round(dice.uniform(5, 20), 1),
        "gust": dice.randint(10, 30),
        "press": round(dice.uniform(990, 1030), 1),
        "alarm": dice.random() < 0.1,
        "note": dice.choice([*PAYLOADS, "fine"]),
        "result": dice.choice([0, 1]),
    }


def write_model(zoo: Path, form: Form, share: float, *, late: bool = False) -> None:
    """The declaration; `late` has heat measured an hour after its event."""
    folder = zoo / "plant"
    folder.mkdir(parents=True, exist_ok=True)
    model, features = MODEL.format(form=form, share=share), FEATURES
    if late:
        model = model.replace("heat: {type: number}", "heat: {type: number, known_at: measured}")
        hour = ', "at" + INTERVAL 1 HOUR AS measured FROM'
        features = features.replace(" FROM", hour)
    (folder / "model.yaml").write_text(model)
    (folder / "features.sql").write_text(features)
    (folder / "labels.sql").write_text(LABELS)
    (folder / "pipeline.py").write_text(
        "def build(columns, params):\n    raise NotImplementedError\n"
    )


def raw_cells(line: Mapping[str, Any]) -> dict[str, Any]:
    """The raw row of a line of the quarantine."""
    cells: dict[str, Any] = json.loads(line["row"])
    return cells


Write = Callable[[Form], Plant]
