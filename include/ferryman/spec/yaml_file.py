"""A YAML file of ours as nodes with their lines: strict, bounded, every mistake with its place."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ferryman.errors import SpecError
from ferryman.spec.mistakes import Location, Mistake

_MAX_SHOWN = 20
_MAX_BYTES = 1_000_000


class DeclarationError(SpecError):
    """A declaration with mistakes; `mistakes` lists them all."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        lines = [str(mistake) for mistake in mistakes[:_MAX_SHOWN]]
        if len(mistakes) > _MAX_SHOWN:
            lines.append(f"... and {len(mistakes) - _MAX_SHOWN} more")
        super().__init__("\n".join(lines), remedy="Correct the lines named above.")

    def __reduce__(self) -> tuple[object, ...]:
        return (DeclarationError, (self.mistakes,))


def parse_yaml(file: Path) -> yaml.MappingNode:
    """The file's top mapping; SpecError (exit 2) where there is none, DeclarationError if wrong."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise SpecError(
            f"{file}: no such file", remedy="Name a declaration that is there."
        ) from None
    if len(data) > _MAX_BYTES:
        raise DeclarationError([Mistake(file, 1, f"{len(data)} bytes; at most {_MAX_BYTES}")])
    try:
        node = _compose(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DeclarationError([Mistake(file, line, "not UTF-8 text")]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        text = f"not YAML: {error.problem or error.context}"
        raise DeclarationError([Mistake(file, line, text)]) from error
    except yaml.YAMLError as error:
        raise DeclarationError([Mistake(file, 1, f"not YAML: {error}")]) from error
    if not isinstance(node, yaml.MappingNode):
        raise DeclarationError([Mistake(file, 1, "the file holds no mapping of keys to values")])
    _refuse_aliases_and_duplicates(node, file)
    return node


def _compose(text: str) -> yaml.Node | None:
    """The document's nodes; libyaml is five times faster, and every task pays for this."""
    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.compose(text, Loader=fast)
    except yaml.YAMLError:
        return yaml.compose(text, Loader=yaml.SafeLoader)  # its words say better what is wrong


def _refuse_aliases_and_duplicates(root: yaml.MappingNode, file: Path) -> None:
    """YAML keeps the last of two equal keys silently, and an alias can blow up a small file."""
    seen: set[int] = set()
    stack: list[yaml.Node] = [root]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            line = node.start_mark.line + 1
            raise DeclarationError([Mistake(file, line, "anchors and aliases are not used here")])
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                name = str(getattr(key, "value", ""))
                if name in keys:
                    line = key.start_mark.line + 1
                    raise DeclarationError([Mistake(file, line, f"key {name!r} stands twice")])
                keys.add(name)
                stack.extend((key, value))
        elif isinstance(node, yaml.SequenceNode):
            stack.extend(node.value)


def to_python(node: yaml.MappingNode, file: Path) -> Any:
    """The node's plain values; DeclarationError (exit 2) for a value that cannot be read."""
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DeclarationError([Mistake(file, line, str(error.problem))]) from error
    except ValueError as error:
        raise DeclarationError([Mistake(file, 1, f"a value cannot be read: {error}")]) from error
    finally:
        loader.dispose()


def line_index(root: yaml.Node) -> dict[Location, int]:
    """The line of every key and item, by its path from the top."""
    lines: dict[Location, int] = {(): 1}
    stack: list[tuple[Location, yaml.Node]] = [((), root)]
    while stack:
        where, node = stack.pop()
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                place = (*where, str(key.value))
                lines[place] = key.start_mark.line + 1
                stack.append((place, value))
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                lines[(*where, index)] = value.start_mark.line + 1
                stack.append(((*where, index), value))
    return lines
