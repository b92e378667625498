"""Puts the rows of one pyarrow Table into the places that sources read."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from services.postgres import PostgresServer

_SQLITE = {"int64": "INTEGER", "double": "REAL", "string": "TEXT", "bool": "BOOLEAN"}
_POSTGRES = {"int64": sa.BigInteger, "double": sa.Double, "string": sa.Text, "bool": sa.Boolean}


def fill_sqlite(file: Path, name: str, table: Any) -> str:
    """A table of a SQLite file, times as ISO 8601 texts; returns the file's URL."""
    declared = ", ".join(f'"{f.name}" {_SQLITE.get(str(f.type), "TEXT")}' for f in table.schema)
    marks = ", ".join("?" * table.num_columns)
    lines = [tuple(record.values()) for record in records_of(table)]
    with closing(sqlite3.connect(file)) as opened, opened:
        opened.execute(f'DROP TABLE IF EXISTS "{name}"')
        opened.execute(f'CREATE TABLE "{name}" ({declared})')
        opened.executemany(f'INSERT INTO "{name}" VALUES ({marks})', lines)  # noqa: S608
    return f"sqlite:///{file}"


def fill_postgres(server: PostgresServer, name: str, table: Any) -> None:
    """A table of the server's database, times with their zone."""
    kinds = {f.name: _POSTGRES.get(str(f.type)) for f in table.schema}
    made = sa.Table(
        name,
        sa.MetaData(),
        *[
            sa.Column(column, kind() if kind else sa.DateTime(timezone=True))
            for column, kind in kinds.items()
        ],
    )
    with server.engine().begin() as opened:
        made.drop(opened, checkfirst=True)
        made.create(opened)
        if table.num_rows:
            opened.execute(made.insert(), table.to_pylist())


def records_of(table: Any) -> list[dict[str, Any]]:
    """The rows as records of JSON, times as ISO 8601 texts."""
    return [
        {
            name: cell.isoformat().replace("+00:00", "Z") if hasattr(cell, "isoformat") else cell
            for name, cell in row.items()
        }
        for row in table.to_pylist()
    ]
