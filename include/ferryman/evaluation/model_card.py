"""A model's card: what it is, on what data, how good, where it is weak, where it comes from.

After Mitchell et al., "Model Cards for Model Reporting" (2019), and made of facts alone: what
nobody has measured or declared is said to be so, not described.
"""

import re
from collections.abc import Iterator, Sequence

from ferryman.evaluation.document import (
    Block,
    Cell,
    Document,
    Facts,
    Picture,
    Section,
    Table,
    Text,
    shown,
)

# What Markdown would read as more than a letter: anywhere, and at the beginning of a line.
_SPECIAL = re.compile(r"([\\`*_\[\]|~$])")
_AT_START = re.compile(r"^(\d*)([#+.)=-])")


def without_pictures(section: Section) -> Section:
    """A section as a card shows it: the same facts, in tables and sentences alone."""
    return Section(
        section.title, [block for block in section.blocks if not isinstance(block, Picture)]
    )


def render_markdown(document: Document) -> str:
    """The document as Markdown with tables (GitHub's form); text is escaped, pictures left out."""
    parts = [f"# {_escaped(document.title)}", _escaped(document.about)]
    for section in document.sections:
        parts.append(f"## {_escaped(section.title)}")
        parts += [text for block in section.blocks for text in _block(block)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Facts):
        yield "\n".join(f"- **{_escaped(name)}**: {_cell(value)}" for name, value in block.items)
    elif isinstance(block, Table):
        yield _table(block)
    elif isinstance(block, Text):
        yield _escaped(block.text)


def _table(table: Table) -> str:
    head = _row([_escaped(name) for name in table.head])
    line = _row(["---"] * len(table.head))
    return "\n".join([head, line, *(_row([_cell(cell) for cell in row]) for row in table.rows)])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Cell) -> str:
    return _escaped(shown(value))


def _escaped(text: str) -> str:
    """One line in which nothing is markup: neither Markdown's signs nor HTML's."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _AT_START.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", line))
