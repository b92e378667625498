"""`ferryman lineage`: where a model version came from, and what came of a version of data."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated

import typer
from rich.markup import escape

from ferryman.catalog import load_catalog
from ferryman.cli.options import out
from ferryman.lineage.link import MISSING, Link
from ferryman.settings import load_settings

_SHOWN = 10
_ID = 16  # characters of an id that are shown
# Of the facts of each kind, those that a person reads; --json has all.
_TOLD = {
    "model version": ("cutoff", "reason", "digest", "accepted_leakage"),
    "release": ("operation", "state", "at", "until", "actor", "reason"),
    "run": ("mlflow_run_id", "status", "started", "reason"),
    "step": ("text",),
    "code": ("uncommitted_changes", "model_folder_sha256"),
    "dataset version": ("role", "rows", "cutoff", "labels", "reason", "actor"),
    "window": ("window", "rows", "labels", "reason", "published", "code_version"),
    "source": ("described", "query", "dropped", "changed"),
    "part": ("sha256", "size", "rows"),
}


def lineage(
    what: Annotated[
        str, typer.Argument(help="flights/3, flights@champion, or the beginning of a data id.")
    ],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The model, where only a number is given.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Every window and every file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The whole chain as JSON.")] = False,
) -> None:
    """Print the chain from a model version to its sources, or from data to what served.

    A prediction names its version and epoch in the server's answer: start from that version.
    """
    from ferryman.lineage.tracing import Tracing

    settings = load_settings()
    catalog = load_catalog(settings.zoo)
    names = [*catalog.models, *catalog.errors]
    chain = Tracing(settings).trace(what, names, model)
    if as_json:
        told = {"chain": chain.as_json(), "missing": chain.missing()}
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
        return
    tree = _Branch(_line(chain))
    _grow(tree, chain, None if full else _SHOWN)
    for line in tree.lines():
        out.print(line, highlight=False)


@dataclass
class _Branch:
    """A line and those below it; rich's own tree would cut lines at the terminal's width."""

    line: str
    below: "list[_Branch]" = field(default_factory=list)

    def add(self, line: str) -> "_Branch":
        self.below.append(_Branch(line))
        return self.below[-1]

    def lines(self, before: str = "", after: str = "") -> Iterator[str]:
        yield before + self.line
        for branch in self.below:
            last = branch is self.below[-1]
            yield from branch.lines(
                after + ("└── " if last else "├── "), after + ("    " if last else "│   ")
            )


def _grow(tree: _Branch, link: Link, most: int | None) -> None:
    windows = [below for below in link.links if below.kind == "window"]
    for below in link.links:
        if below.kind != "window":
            _grow(tree.add(_line(below)), below, most)
    if windows:
        _add_windows(tree, windows, most)
    elif link.kind == "source" and not link.links:
        tree.add("[dim]no part is named[/dim]")


def _add_windows(tree: _Branch, windows: list[Link], most: int | None) -> None:
    """Windows one line each, then what they were all read from: neighbours share their files."""
    relations: dict[str, list[str]] = {}
    links: dict[str, Link] = {}
    for window in windows:
        relations.setdefault(window.name, []).append(window.relation.removesuffix(" from"))
        links[window.name] = window
    lines = [
        f"{_line(links[name], said=' and '.join(relations[name]))}"
        for name in sorted(links, key=lambda name: str(links[name].facts.get("window")))
    ]
    branch = tree.add(f"{len(lines)} windows")
    _add_some(branch, lines, most)
    sources: dict[str, list[Link]] = {}
    for link in links.values():
        for source in link.links:
            sources.setdefault(source.name, []).append(source)
    for name in sorted(sources):
        found = sources[name]
        branch = tree.add(_line(Link("source", name, "read from", found[0].facts)))
        parts = {(p.name, str(p.facts.get("sha256"))): p for source in found for p in source.links}
        _add_some(branch, [_line(parts[key]) for key in sorted(parts)], most)


def _add_some(tree: _Branch, lines: Iterable[str], most: int | None) -> None:
    kept = list(lines)
    for line in kept[:most]:
        tree.add(line)
    if most is not None and len(kept) > most:
        tree.add(f"[dim]and {len(kept) - most} more: --full shows them[/dim]")


def _line(link: Link, said: str = "") -> str:
    if link.kind == MISSING:
        return f"[yellow]missing:[/yellow] {escape(link.name)}"
    whole = link.kind in ("model version", "source", "part", "run", "release", "quarantine", "use")
    name = link.name if whole else link.name[: 12 if link.kind == "code" else _ID]
    relation = said or link.relation
    head = f"{relation} " if relation else ""
    kind = "" if link.kind in ("part", "step", "use") else f"{link.kind} "
    told = [
        f"{fact} {_short(link.facts[fact])}" if fact != "text" else str(link.facts[fact])
        for fact in _TOLD.get(link.kind, ())
        if link.facts.get(fact) not in (None, "", {}, [])
        and not (fact in ("dropped", "changed") and link.facts[fact] == 0)
        and not (fact == "query" and link.facts[fact] == link.facts.get("described"))
    ]
    return f"{escape(head)}{kind}[bold]{escape(name)}[/bold]" + (
        f"  {escape(', '.join(told))}" if told else ""
    )


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    text = " ".join(str(value).split())
    return f"{text[:_ID]}" if len(text) == 64 and text.isalnum() else text[:300]
