"""One link of a chain of lineage, and how links hang together; for people and for machines."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

MISSING = "missing"


@dataclass(frozen=True)
class Link:
    """A thing (a version, a run, a window, a file) with what is known of it, and what it leads to.

    `relation` says what it is to the link above it ("trained on"). A link of kind "missing" says
    what could not be found, and why.
    """

    kind: str
    name: str
    relation: str = ""
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    links: tuple["Link", ...] = ()

    def walk(self) -> Iterator["Link"]:
        """This link and all below it."""
        yield self
        for link in self.links:
            yield from link.walk()

    def missing(self) -> list[str]:
        """What could not be found, each once."""
        return list(dict.fromkeys(link.name for link in self.walk() if link.kind == MISSING))

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values; nothing is left out."""
        return {
            "kind": self.kind,
            "name": self.name,
            "relation": self.relation,
            "facts": dict(self.facts),
            "links": [link.as_json() for link in self.links],
        }


def missing(text: str) -> Link:
    """The link that stands where something could not be found."""
    return Link(MISSING, text)
