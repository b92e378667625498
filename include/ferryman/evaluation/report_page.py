"""Writes a document as one page of HTML that needs nothing else: no script, no other host."""

import base64
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from ferryman.evaluation.document import Block, Document, Table, shown

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).with_name("templates")
_PAGE = "document.html"
_INTERVAL = re.compile(r"\[[-+.,e0-9]+, [-+.,e0-9]+\]")


def render_html(document: Document) -> bytes:
    """The page, UTF-8; every text is escaped, pictures are inside."""
    page = _environment().get_template(_PAGE).render(document=document)
    return page.encode("utf-8", errors="replace")


@lru_cache(maxsize=1)
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters.update(shown=shown, base64=_base64, together=_together)
    made.tests["numbers"] = _numbers
    return made


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _together(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Blocks in order; pictures that follow one another stand side by side."""
    for _, group in groupby(blocks, key=lambda block: block.kind == "picture"):
        yield list(group)


def _numbers(table: Table, column: int) -> bool:
    """Whether a column holds numbers or intervals (or nothing), which stand to the right."""
    cells = [row[column] for row in table.rows]
    known = [cell for cell in cells if cell is not None and cell != shown(None)]
    return bool(known) and all(
        _INTERVAL.fullmatch(cell) if isinstance(cell, str) else True for cell in known
    )
