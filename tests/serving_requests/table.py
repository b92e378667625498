"""Requests that no server should answer with a prediction, and what ours answers to each.

The server of the table has `tiny` (carrier: text, distance: number, hour: whole number) in version
3 with version 2 kept warm, and `line` (x: number, never null) in version 1.
`PYTHONPATH=tests python -m serving_requests.table` writes docs/serving-protocols.md anew.
"""

import json
from pathlib import Path

from serving_requests.bad_rows import BODIES, EXAMPLES, ROWS
from serving_requests.bad_tensors import PATHS, TENSORS

PAGE = Path(__file__).parents[2] / "docs" / "serving-protocols.md"
BEGIN, END = "<!-- bad requests: begin -->", "<!-- bad requests: end -->"


REQUESTS = [*BODIES, *ROWS, *EXAMPLES, *TENSORS, *PATHS]


def table() -> str:
    """The table as Markdown."""
    lines = ["| What | Path | Status | Answer | Row | Field |", "|---|---|---|---|---|---|"]
    for case in REQUESTS:
        path = f"`{case.method} {case.path if len(case.path) < 60 else case.path[:50] + '...'}`"
        row = "" if case.row is None else str(case.row)
        field = "" if case.field is None else f"`{json.dumps(case.field)[1:-1]}`"
        cells = [case.what, path, str(case.status), case.text, row, field]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _write() -> None:
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    _write()
