"""Says from the recorded facts why a window's new snapshot differs from the one before."""

from ferryman.data.versions.catalogue_entry import CatalogueEntry, SourceUse

_SHOWN = 3  # names of one kind


def explain_change(before: CatalogueEntry, after: CatalogueEntry) -> str:
    """Which source, query, declaration or code changed, and by how many rows; one short line."""
    told: list[str] = []
    for name in sorted({*before.sources, *after.sources}):
        told += _source_change(name, before.sources.get(name), after.sources.get(name))
    queries = sorted({*before.queries, *after.queries})
    changed = [name for name in queries if before.queries.get(name) != after.queries.get(name)]
    if changed:
        told.append(f"query {_few(changed)} changed")
    elif before.spec_digest != after.spec_digest:
        told.append("the declaration changed")
    if before.read_window != after.read_window:
        told.append(f"the span read is {after.read_window or 'the window itself'}")
    if before.code_version != after.code_version:
        told.append(f"code {before.code_version[:12] or '?'} -> {after.code_version[:12] or '?'}")
    if before.table_schema != after.table_schema:
        told.append("columns changed")
    for what in ("rows", "labels"):
        old, new = getattr(before, what), getattr(after, what)
        if old != new:
            told.append(f"{what} {old} -> {new}")
    return "; ".join(told) or "only values changed, for no recorded reason"


def _source_change(name: str, before: SourceUse | None, after: SourceUse | None) -> list[str]:
    if before is None or after is None:
        return [f"source {name} is {'new' if before is None else 'gone'}"]
    told = []
    old = {str(part.get("name")): part.get("sha256") for part in before.parts}
    new = {str(part.get("name")): part.get("sha256") for part in after.parts}
    changed = [part for part in sorted({*old, *new}) if old.get(part) != new.get(part)]
    if changed:
        told.append(f"source {name} changed: {_few(changed)}")
    if (before.described, before.query) != (after.described, after.query):
        told.append(f"source {name} is asked another way")
    return told


def _few(names: list[str]) -> str:
    shown = ", ".join(name[-80:] for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
