"""Shapes an exported ONNX graph into the one form that is served, with the same bytes every time.

Inputs are the feature columns, [rows, 1] each; the one output is named by the task.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ferryman.runtime.files import write_atomic
from ferryman.spec.metrics import Task

PROBABILITY = "probability"
VALUE = "value"


def output_name(task: Task, columns: Iterable[str]) -> str:
    """How the output of a task's graph is called: unlike any feature column."""
    name = VALUE if task == "regression" else PROBABILITY
    while name in columns:
        name += "_"
    return name


def set_output(model: Any, node: str, task: Task, classes: int, name: str) -> None:
    """Make what a graph calls `node` its only output `name`, in the shape that the task answers in.

    `node` is a probability a class, [rows, 2 or more], of which a binary task takes the second; or
    one number a row, [rows, 1], which becomes [rows].
    """
    from onnx import TensorProto, helper

    graph = model.graph
    shape: list[str | int] = ["rows"]
    if task == "multiclass":
        graph.node.append(helper.make_node("Identity", [node], [name]))
        shape.append(classes)
    elif classes == 2:
        index = helper.make_tensor("ferryman_positive", TensorProto.INT64, [], [1])
        graph.initializer.append(index)
        graph.node.append(helper.make_node("Gather", [node, index.name], [name], axis=1))
    else:
        flat = helper.make_tensor("ferryman_flat", TensorProto.INT64, [1], [-1])
        graph.initializer.append(flat)
        graph.node.append(helper.make_node("Reshape", [node, flat.name], [name]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    drop_unused_nodes(graph)


def write_graph(model: Any, path: Path) -> None:
    """Write the file atomically, without what says when and by whom it was made."""
    model.doc_string = ""
    del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
    # skl2onnx lists them in the order of a set, which differs from process to process.
    model.opset_import.sort(key=lambda opset: opset.domain)
    write_atomic(path, model.SerializeToString(deterministic=True))


def rename_all(model: Any, inputs: Mapping[str, str], columns: Sequence[str], name: str) -> None:
    """Give every value inside a graph a number for a name, and every input its column's name.

    Exporters that count what they met in a process name the parts of equal graphs differently.
    Sub-graphs (loops, branches) see the names outside, so they are renamed with them.
    """
    from onnx import helper

    graph = model.graph
    outputs = {entry.name: entry.name for entry in graph.output}
    names = {"": "", **outputs, **inputs}
    taken = {*columns, *outputs}
    _number(graph, names, taken, f"{len(graph.node)}")
    graph.name = name
    typed = {entry.name: entry for entry in graph.input}
    ordered = [
        helper.make_tensor_value_info(column, typed[column].type.tensor_type.elem_type, ["rows", 1])
        for column in columns
    ]
    del graph.input[:]
    graph.input.extend(ordered)


def number_values(graph: Any) -> dict[str, str]:
    """Give every value but the outputs a number for a name; what each was called, to its name."""
    names = {"": "", **{entry.name: entry.name for entry in graph.output}}
    _number(graph, names, set(names), f"{len(graph.node)}")
    return names


def _number(graph: Any, names: dict[str, str], taken: set[str], prefix: str) -> None:
    """Rename one graph in place; `names` holds what the graphs around it have named."""

    def new(old: str) -> str:
        if old not in names:
            place = len(names)
            while f"t{place}" in taken:
                place += len(names)
            names[old] = f"t{place}"
        return names[old]

    for entry in (*graph.input, *graph.initializer):
        entry.name = new(entry.name)
    for place, node in enumerate(graph.node):
        node.name = f"n{prefix}_{place}"
        for number, value in enumerate(node.input):
            node.input[number] = new(value)
        for number, value in enumerate(node.output):
            node.output[number] = new(value)
        for inner in inner_graphs(node):
            inner.name = f"g{prefix}_{place}"
            _number(inner, names, taken, f"{prefix}_{place}")
    for entry in graph.output:
        entry.name = new(entry.name)
    del graph.value_info[:]


def drop_unused_nodes(graph: Any) -> None:
    """Remove nodes that only a dropped output needed, and constants that nothing reads."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
            needed.update(*(names_read(inner) for inner in inner_graphs(node)))
    del graph.node[:]
    graph.node.extend(reversed(kept))
    constants = [entry for entry in graph.initializer if entry.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(constants)


def names_read(graph: Any) -> set[str]:
    """Every name that a sub-graph reads, at any depth."""
    found = {entry.name for entry in graph.output}
    for node in graph.node:
        found.update(node.input)
        found.update(*(names_read(inner) for inner in inner_graphs(node)))
    return found


def inner_graphs(node: Any) -> list[Any]:
    """The sub-graphs of a node: bodies of loops, branches."""
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]
