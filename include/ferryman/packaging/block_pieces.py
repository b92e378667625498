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


def make_pieces(pieces: Iterable[Piece], widths: Mapping[Block, int], opset: int) -> Made:
    """How to make pieces out of blocks of these widths, with the operators of an opset."""
    from onnx import helper

    wanted = list(dict.fromkeys(pieces))
    made = Made([], [], {})
    names = {}
    for block, width in widths.items():
        parts = {replace(piece, casts=()) for piece in wanted if piece.block == block}
        names.update(_cut(made, block, width, sorted(parts, key=lambda part: part.columns), opset))
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


def _cut(made: Made, block: Block, width: int, parts: list[Piece], opset: int) -> dict[Piece, str]:
    """Add the nodes that cut one block; a part that is all of it is the block itself."""
    names: dict[Piece, str] = {}
    whole = (0, width)
    for place, part in enumerate(parts):
        names[part] = block if part.run == whole else f"{block}_{place}"
    rest = [part for part in parts if part.run != whole]
    runs = [(part.run, names[part]) for part in rest if part.run]
    if len(runs) > 1 and all(a[1] <= b[0] for (a, _), (b, _) in pairwise(runs)):
        _split(made, block, *_shares(runs, width, block), opset)
        rest = [part for part in rest if not part.run]
    for part in rest:
        _take(made, part, names[part], opset)
    return names


def _split(made: Made, block: str, sizes: list[int], outputs: list[str], opset: int) -> None:
    """All parts of a block by one node; sizes became an input with opset 13."""
    from onnx import helper

    if opset < 13:
        node = helper.make_node("Split", [block], outputs, axis=1, split=sizes)
    else:
        inputs = [block, _constant(made, block, "sizes", sizes)]
        node = helper.make_node("Split", inputs, outputs, axis=1)
    made.nodes.append(node)


def _take(made: Made, part: Piece, name: str, opset: int) -> None:
    """One part: a run by Slice, which takes its bounds as inputs from opset 10 on."""
    from onnx import helper

    if part.run is None or opset < 10:
        places = _constant(made, name, "places", list(part.columns))
        made.nodes.append(helper.make_node("Gather", [part.block, places], [name], axis=1))
        return
    bounds = [
        _constant(made, name, word, [value])
        for word, value in (("first", part.run[0]), ("end", part.run[1]), ("axis", 1))
    ]
    made.nodes.append(helper.make_node("Slice", [part.block, *bounds], [name]))


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
