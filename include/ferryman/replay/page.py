"""Renders a replay as one HTML file that needs nothing else."""

import base64
from collections.abc import Mapping, Sequence
from html import escape

from ferryman.replay.day_book import DayOutcome

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #2b2b2b; max-width: 1120px;
  margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { max-width: 46rem; }
img { width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; margin: .75rem 0;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid #e3e3e3;
  vertical-align: top; }
th { font-weight: 600; }
.figures td + td, .figures th + th { text-align: right; }
.days td:nth-child(-n+3) { white-space: nowrap; }
details summary { cursor: pointer; }
"""


def render_page(
    title: str,
    png: bytes,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    lives: Mapping[str, Sequence[DayOutcome]],
) -> str:
    """The page: figures, picture, and every training with its reason and its verdict."""
    image = base64.b64encode(png).decode()
    details = "\n".join(_trainings(policy, life) for policy, life in lives.items())
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Replay of {escape(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{_STYLE}</style></head>
<body>
<h1>Replay of {escape(title)}</h1>
<p>The same days were lived under each policy, through the same steps as in production: every event
was scored by the serving process before its label was known, and every new model had to pass the
gate against the champion of its time. Figures are pooled over all events with a label.</p>
{_table(headings, rows, "figures")}
<img alt="Two rolling figures of each policy, with every champion change"
  src="data:image/png;base64,{image}">
{details}
</body>
</html>
"""


def _trainings(policy: str, life: Sequence[DayOutcome]) -> str:
    trained = [day for day in life if day.trained]
    rows = [
        (
            day.day,
            "released" if day.released else "not released",
            str(day.version or "-"),
            day.reason,
            day.verdict,
        )
        for day in trained
    ]
    table = _table(
        ("day", "outcome", "champion", "why it was trained", "what the gate said"), rows, "days"
    )
    shown = " open" if len(trained) <= 60 else ""
    return (
        f"<h2>{escape(policy)}</h2>\n<details{shown}><summary>{len(trained)} trainings, "
        f"{sum(day.released for day in trained)} champion changes</summary>\n{table}\n</details>"
    )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], name: str) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<table class="{name}"><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>'
