"""A document of facts: sections of named values, tables, sentences and pictures.

What is written here knows neither HTML nor Markdown; `report_page` and `model_card` write those.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ferryman.evaluation.intervals import Interval

Cell = str | int | float | None


@dataclass(frozen=True)
class Facts:
    """Named values, in order."""

    items: Sequence[tuple[str, Cell]]
    kind: Literal["facts"] = "facts"


@dataclass(frozen=True)
class Table:
    """Rows below a head; a None is shown as a dash."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Text:
    """A paragraph; `tone` says whether it is good or bad news."""

    text: str
    tone: Literal["", "good", "bad", "quiet"] = ""
    kind: Literal["text"] = "text"


@dataclass(frozen=True)
class Picture:
    """A PNG; `about` is its caption, and its text for who cannot see it."""

    png: bytes = field(repr=False)
    about: str
    kind: Literal["picture"] = "picture"


Block = Facts | Table | Text | Picture


@dataclass(frozen=True)
class Section:
    """Blocks below a heading."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A title, what it is about, and sections."""

    title: str
    about: str
    sections: Sequence[Section]


def shown(value: Cell) -> str:
    """A cell as text; a dash for what there is not."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return shown_number(value)
    if isinstance(value, int):
        return f"{value:,}"
    return value


def shown_number(value: float) -> str:
    """A number with about four digits, without an exponent where it is of usual size."""
    if not math.isfinite(value):
        return "–"
    if value.is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    if 1e-3 <= abs(value) < 1e6:
        return f"{value:,.4f}" if abs(value) < 10 else f"{value:,.2f}"
    return f"{value:.3g}"


def shown_interval(interval: Interval | None) -> str:
    """An interval in brackets; a dash for none."""
    if interval is None:
        return "–"
    return f"[{shown_number(interval.low)}, {shown_number(interval.high)}]"
