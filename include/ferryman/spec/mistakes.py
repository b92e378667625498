"""Turns the errors of a validation into mistakes that people can mend: line, bad key, nearest."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ferryman.spec.model import ModelSpec

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Mistake:
    """One mistake in a declaration: where it stands and what is wrong with it."""

    file: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def nearest(word: str, legal: Sequence[str]) -> str | None:
    """The legal word that the writer most likely meant."""
    matches = difflib.get_close_matches(word, legal, n=1, cutoff=0.6)
    return matches[0] if matches else None


def mistakes_of(
    error: ValidationError,
    file: Path,
    lines: Mapping[Location, int],
    kind: type[BaseModel] = ModelSpec,
) -> list[Mistake]:
    """Every mistake of a validation of `kind`, in the order of their lines."""
    found = []
    for detail in error.errors(include_url=False):
        location, legal = _resolve(tuple(detail["loc"]), kind)
        text = _explain(detail, location, legal, lines)
        found.append(Mistake(file, line_of(location, lines), text))
    return sorted(found, key=lambda mistake: mistake.line)


def line_of(location: Location, lines: Mapping[Location, int]) -> int:
    """The line of a key, or of the nearest written one above it."""
    while location not in lines:
        location = location[:-1]
    return lines[location]


def _explain(
    detail: Any, location: Location, legal: list[str], lines: Mapping[Location, int]
) -> str:
    written = [part for i, part in enumerate(location) if location[: i + 1] in lines]
    path = ".".join(str(part) for part in written) or "the file"
    if detail["type"] in ("missing", "union_tag_not_found"):
        name = location[-1] if detail["type"] == "missing" else "kind"
        above = location[:-1] if detail["type"] == "missing" else location
        parent = ".".join(str(part) for part in above)
        return f"key {str(name)!r} is missing" + (f" in {parent}" if parent else "")
    if detail["type"] == "union_tag_invalid":
        given, kinds = str(detail["ctx"]["tag"]), str(detail["ctx"]["expected_tags"])
        meant = nearest(given, [kind.strip(" '") for kind in kinds.split(",")])
        hint = f"did you mean {meant!r}?" if meant else f"kinds: {kinds}"
        return f"{path}: no kind {given[:60]!r}; {hint}"
    if detail["type"] != "extra_forbidden":
        message = str(detail["msg"]).removeprefix("Value error, ")
        value = detail.get("input")
        shown = f" (got {value!r})" if isinstance(value, (str, int, float, bool)) else ""
        return f"{path}: {message}{shown}"
    meant = nearest(str(location[-1]), legal)
    hint = f"did you mean {meant!r}?" if meant else f"legal keys: {', '.join(legal)}"
    return f"unknown key {path!r}; {hint}"


def _resolve(location: Location, kind: type[BaseModel]) -> tuple[Location, list[str]]:
    """A location as it is written in the file, and the legal keys beside its last part.

    pydantic names the member of a union in the location; no such key stands in the file.
    """
    current: Any = kind
    written: list[str | int] = []
    legal: list[str] = []
    for part in location:
        members = _members(current)
        chosen = next((member for member in members if _kind_of(member) == part), None)
        if len(members) > 1 and chosen is not None:
            current = chosen
            continue
        written.append(part)
        if members:
            legal = list(members[0].model_fields)
            field = members[0].model_fields.get(str(part))
            current = field.annotation if field else None
        else:
            current = _value_type(current)
    return tuple(written), legal


def _members(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation is, or is a union of; none for a mapping or a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (dict, list, tuple) or annotation is None:
        return []
    return [member for inner in get_args(annotation) for member in _members(inner)]


def _kind_of(member: type[BaseModel]) -> str | None:
    """The word that tells a member of a union from the others."""
    field = member.model_fields.get("kind")
    return get_args(field.annotation)[0] if field else None


def _value_type(annotation: Any) -> Any:
    """The type of the values of a mapping or list."""
    if get_origin(annotation) is Annotated:
        return _value_type(get_args(annotation)[0])
    inner = get_args(annotation)
    return inner[-1] if inner else None
