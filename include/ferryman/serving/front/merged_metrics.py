"""One metrics page from those of several replicas, whose samples carry their replica's name."""

from collections.abc import Iterable


def merge_pages(pages: Iterable[str]) -> str:
    """Pages (Prometheus text format) as one: each family is told of once, with all its samples."""
    heads: dict[str, dict[str, str]] = {}
    samples: dict[str, list[str]] = {}
    for page in pages:
        family = ""
        for line in page.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                _, what, family, _ = line.split(" ", 3)
                heads.setdefault(family, {}).setdefault(what, line)
            elif line and not line.startswith("#"):
                samples.setdefault(family, []).append(line)
    lines: list[str] = []
    for family in dict.fromkeys([*heads, *samples]):
        lines += [*heads.get(family, {}).values(), *samples.get(family, [])]
    return "\n".join(lines) + "\n"
