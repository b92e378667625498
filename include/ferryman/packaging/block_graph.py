"""Gives a graph one input a block of columns, [rows, columns], instead of one input a column.

Each input of a session costs time at every call, however small it is; and what the columns are then
joined to is mostly the block that they came from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ferryman.packaging.block_pieces import Piece, make_pieces
from ferryman.packaging.onnx_graph import (
    drop_unused_nodes,
    inner_graphs,
    names_read,
    number_values,
)
from ferryman.runtime.bundle import Block

Blocks = dict[Block, list[str]]
# Operators of one main input whose output has its shape.
_KEEP_SHAPE = ("Cast", "Identity", "LabelEncoder", "Imputer", "Scaler")


@dataclass
class _Known:
    """What is known of a graph's values while its nodes are gone through, from the inputs on."""

    constants: dict[str, Any]
    pieces: dict[str, Piece]
    pinned: set[str]  # answered, or read by sub-graphs: the name must stay
    widths: dict[str, int] = field(default_factory=dict)  # of what is [rows, width]
    aliases: dict[str, str] = field(default_factory=dict)

    def width(self, name: str) -> int | None:
        """The columns of a value, where it is known to be [rows, columns]."""
        piece = self.pieces.get(name)
        return self.widths.get(name) if piece is None else len(piece.columns)


def blocks_of(model: Any, features: Sequence[str]) -> Blocks:
    """The columns by what their cells are, in the order of the features.

    Empty where an input is no feature, or of a type that no block has.
    """
    types = _block_types()
    typed = {entry.name: entry.type.tensor_type.elem_type for entry in model.graph.input}
    if set(typed) != set(features) or not set(typed.values()) <= set(types):
        return {}
    found: Blocks = {}
    for name in features:
        found.setdefault(types[typed[name]], []).append(name)
    return found


def block_graph(model: Any, blocks: Blocks, *, simplify: bool) -> Any:
    """A copy of the model that takes the blocks: the same operators, opset and answers.

    Without `simplify` each block is split into its columns and nothing else changes. With it, nodes
    that only join, cast or pick columns give way to the block, or to a part of it.
    """
    from onnx import helper

    made = type(model)()
    made.CopyFrom(model)
    graph = made.graph
    known = _known(graph, blocks)
    kept = []
    for node in graph.node:
        _point(node, known.aliases)
        if not simplify:
            kept.append(node)
        elif not (_moves_columns(known, node) or _changes_nothing(known, node)):
            kept.append(node)
            _join_neighbours(known, node)
    read = [name for node in kept for name in node.input if name in known.pieces]
    pinned = sorted(known.pinned & set(known.pieces))
    opset = next(entry.version for entry in made.opset_import if not entry.domain)
    widths = {block: len(columns) for block, columns in blocks.items()}
    cut = make_pieces((known.pieces[name] for name in [*read, *pinned]), widths, opset)
    names = {name: cut.names[known.pieces[name]] for name in [*read, *pinned]}
    for node in kept:
        _point(node, names)
    front = [*cut.nodes, *(helper.make_node("Identity", [names[n]], [n]) for n in pinned)]
    _replace_nodes(graph, [*front, *kept])
    graph.initializer.extend(cut.constants)
    _set_inputs(graph, blocks)
    if simplify:
        _fix_shapes(made)
    drop_unused_nodes(graph)
    return made


def _known(graph: Any, blocks: Blocks) -> _Known:
    """Number all values of a graph, so that no name is a block's or a piece's; and look at it."""
    from onnx import numpy_helper

    names = number_values(graph)
    constants = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    pinned = {entry.name for entry in graph.output}
    for node in graph.node:
        pinned.update(*(names_read(inner) for inner in inner_graphs(node)))
    pieces = {
        names[column]: Piece(block, (place,))
        for block, columns in blocks.items()
        for place, column in enumerate(columns)
    }
    return _Known(constants, pieces, pinned)


def _moves_columns(known: _Known, node: Any) -> bool:
    """Whether a node only moves or casts columns; then what it gives is known as a piece."""
    given = [known.pieces.get(name) for name in node.input]
    first = given[0] if given else None
    if first is None or len(node.output) != 1:
        return False
    found: Piece | None = None
    if node.op_type == "Identity" or _is_idle_reshape(known, node):
        found = first
    elif node.op_type == "Cast":
        found = replace(first, casts=(*first.casts, _number(node, "to")))
    elif _joins_columns(node):
        found = _one_piece(given)
    elif node.op_type == "ArrayFeatureExtractor":
        found = _picked(first, known.constants.get(node.input[1]))
    elif node.op_type == "Gather" and _number(node, "axis") in (1, -1):
        places = known.constants.get(node.input[1])
        found = _picked(first, places if places is not None and places.ndim == 1 else None)
    if found is not None:
        known.pieces[node.output[0]] = found
    return found is not None


def _changes_nothing(known: _Known, node: Any) -> bool:
    """Whether a node is a Reshape to the shape that is there; who reads it then reads its input."""
    width = known.width(node.input[0]) if node.input else None
    if width is not None and node.op_type in _KEEP_SHAPE:
        known.widths[node.output[0]] = width
    if not _is_idle_reshape(known, node):
        return False
    known.widths[node.output[0]] = known.width(node.input[0]) or 0
    if node.output[0] in known.pinned:
        return False
    known.aliases[node.output[0]] = node.input[0]
    return True


def _join_neighbours(known: _Known, node: Any) -> None:
    """Let a Concat that stays take columns of one block that stand side by side together."""
    if not _joins_columns(node):
        return
    inputs: list[str] = []
    for name in node.input:
        last = inputs[-1] if inputs else ""
        both = _one_piece([known.pieces.get(last), known.pieces.get(name)])
        if both is None:
            inputs.append(name)
        else:
            inputs[-1] = f"{node.output[0]}_{len(inputs)}"
            known.pieces[inputs[-1]] = both
    del node.input[:]
    node.input.extend(inputs)


def _one_piece(given: Sequence[Piece | None]) -> Piece | None:
    """Pieces side by side as one, where they are of one block and were cast alike."""
    joined = given[0]
    for piece in given[1:]:
        joined = joined.side_by_side(piece) if joined is not None and piece is not None else None
    return joined


def _picked(piece: Piece, places: Any) -> Piece | None:
    """Some columns of a piece by constant places."""
    if places is None:
        return None
    wanted = [int(place) for place in places.reshape(-1)]
    if not wanted or not all(0 <= place < len(piece.columns) for place in wanted):
        return None
    return replace(piece, columns=tuple(piece.columns[place] for place in wanted))


def _is_idle_reshape(known: _Known, node: Any) -> bool:
    """Whether a node is a Reshape of [rows, width] to [rows, width]."""
    if node.op_type != "Reshape":
        return False
    width, shape = known.width(node.input[0]), known.constants.get(node.input[1])
    if width is None or shape is None:
        return False
    return shape.tolist() in ([-1, width], [0, width], [0, -1]) and not _number(node, "allowzero")


def _joins_columns(node: Any) -> bool:
    return node.op_type == "Concat" and _number(node, "axis") in (1, -1)


def _number(node: Any, name: str) -> int:
    """A whole-number attribute; 0 where it is not given."""
    return next((int(entry.i) for entry in node.attribute if entry.name == name), 0)


def _point(node: Any, names: dict[str, str]) -> None:
    """Let a node read values under other names."""
    for place, name in enumerate(node.input):
        node.input[place] = names.get(name, name)


def _replace_nodes(graph: Any, nodes: Sequence[Any]) -> None:
    copies = []
    for place, node in enumerate(nodes):
        copy = type(node)()
        copy.CopyFrom(node)
        copy.name = f"n{place}"
        copies.append(copy)
    del graph.node[:]
    graph.node.extend(copies)


def _fix_shapes(model: Any) -> None:
    """Give a Reshape that works out its shape at every call the constant one, [-1, known ...].

    Exporters of TensorFlow's write flattening as a chain of shape operators.
    """
    from onnx import TensorProto, helper, shape_inference

    graph = model.graph
    constants = {entry.name for entry in graph.initializer}
    inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {entry.name: entry.type.tensor_type.shape for entry in inferred.value_info}
    for node in graph.node:
        shape = shapes.get(node.output[0])
        if node.op_type != "Reshape" or node.input[1] in constants or shape is None:
            continue
        sizes = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in shape.dim]
        if sizes[:1] == [-1] and all(size > 0 for size in sizes[1:]):
            node.input[1] = f"{node.output[0]}_shape"
            graph.initializer.append(
                helper.make_tensor(node.input[1], TensorProto.INT64, [len(sizes)], sizes)
            )


def _set_inputs(graph: Any, blocks: Blocks) -> None:
    from onnx import helper

    types = {block: number for number, block in _block_types().items()}
    del graph.input[:]
    graph.input.extend(
        helper.make_tensor_value_info(block, types[block], ["rows", len(columns)])
        for block, columns in blocks.items()
    )


def _block_types() -> dict[int, Block]:
    from onnx import TensorProto

    return {
        TensorProto.FLOAT: "float32",
        TensorProto.DOUBLE: "float64",
        TensorProto.INT64: "int64",
        TensorProto.STRING: "text",
    }
