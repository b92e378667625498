"""Parts of a block of columns, and the nodes that make them: cut first, then cast."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from ferryman.runtime.bundle import Block


@dataclass(frozen=True)
class Piece:
    """Columns of a block in this order, [rows, columns], cast to one ONNX type after another."""

    block: Block
    columns: tuple[int, ...]
    casts: tuple[int, ...] = ()

    @property
    def run(self) -> tuple[int, int] | None:
        """First and last + 1, where the columns follow one another in the block."""
        first, last = self.columns[0], self.columns[-1] + 1
        return (first, last) if self.columns == tuple(range(first, last)) else None

    def side_by_side(self, other: "Piece") -> "Piece | None":
        """Both as one, where they are of one block and were cast alike."""
        if (self.block, self.casts) != (other.block, other.casts):
            return None
        return replace(self, columns=self.columns + other.columns)


@dataclass(frozen=True)
class Made:
    """The nodes and constants that make pieces, and what each piece is called."""

    nodes: list[Any]
    constants: list[Any]
    names: Mapping[Piece, str]


def make_pieces(pieces: Iterable[Piece], widths: Mapping[Block, int]) -> Made:
    """How to make pieces out of blocks of these widths."""
    from onnx import helper

    wanted = list(dict.fromkeys(pieces))
    made = Made([], [], {})
    names = {}
    for block, width in widths.items():
        parts = {replace(piece, casts=()) for piece in wanted if piece.block == block}
        names.update(_cut(made, block, width, sorted(parts, key=lambda part: part.columns)))
    for piece in wanted:
        for length in range(1, len(piece.casts) + 1):
            step = replace(piece, casts=piece.casts[:length])
            if step not in names:
                source = names[replace(piece, casts=piece.casts[: length - 1])]
                names[step] = f"{source}_as{piece.casts[length - 1]}"
                made.nodes.append(
                    helper.make_node("Cast", [source], [names[step]], to=piece.casts[length - 1])
                )
    return replace(made, names=names)


def _cut(made: Made, block: Block, width: int, parts: list[Piece]) -> dict[Piece, str]:
    """Add the nodes that cut one block; a part that is all of it is the block itself."""
    from onnx import helper

    names: dict[Piece, str] = {}
    whole = (0, width)
    for place, part in enumerate(parts):
        names[part] = block if part.run == whole else f"{block}_{place}"
    runs = [(part.run, names[part]) for part in parts if part.run and part.run != whole]
    if len(runs) > 1 and all(a[1] <= b[0] for (a, _), (b, _) in pairwise(runs)):
        sizes, outputs = _shares(runs, width, block)
        inputs = [block, _constant(made, block, "sizes", sizes)]
        made.nodes.append(helper.make_node("Split", inputs, outputs, axis=1))
    else:
        for (first, end), name in runs:
            bounds = [
                _constant(made, name, word, [value])
                for word, value in (("first", first), ("end", end), ("axis", 1))
            ]
            made.nodes.append(helper.make_node("Slice", [block, *bounds], [name]))
    for part in parts:
        if part.run is None:
            places = _constant(made, names[part], "places", list(part.columns))
            made.nodes.append(helper.make_node("Gather", [block, places], [names[part]], axis=1))
    return names


def _shares(
    runs: list[tuple[tuple[int, int], str]], width: int, block: str
) -> tuple[list[int], list[str]]:
    """Sizes and names that cover a block: the runs, and the gaps between them."""
    sizes: list[int] = []
    outputs: list[str] = []
    reached = 0
    for (first, end), name in [*runs, ((width, width), "")]:
        if first > reached:
            sizes.append(first - reached)
            outputs.append(f"{block}_gap{reached}")
        if end > first:
            sizes.append(end - first)
            outputs.append(name)
        reached = end
    return sizes, outputs


def _constant(made: Made, name: str, word: str, values: list[int]) -> str:
    from onnx import TensorProto, helper

    label = f"{name}_{word}"
    made.constants.append(helper.make_tensor(label, TensorProto.INT64, [len(values)], values))
    return label
