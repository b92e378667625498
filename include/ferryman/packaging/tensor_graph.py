"""Brings a TensorFlow graph into one form: the same function has the same nodes, names and order.

TensorFlow numbers scopes by what a process made before, and keeps nodes in the order of a hash.
"""

from collections.abc import Sequence
from typing import Any

# Attributes that say how a graph was made, not what it computes.
_INCIDENTAL = ("_class", "_has_manual_control_dependencies", "_output_shapes")


def canonical_graph(graph: Any, inputs: Sequence[str], output: str, answers: str) -> Any:
    """A GraphDef of the nodes that `output` needs: inputs first, then each after what it reads.

    `inputs` are names of nodes, which they keep; the output tensor becomes `<answers>:0`; all
    others are numbered.
    """
    nodes = {node.name: node for node in graph.node}
    order = _after_what_it_reads(nodes, inputs, _node_of(output))
    names = {old: old if old in inputs else f"n{place}" for place, old in enumerate(order)}
    made = type(graph)()
    made.versions.CopyFrom(graph.versions)
    made.library.CopyFrom(graph.library)
    for old in order:
        node = made.node.add()
        node.CopyFrom(nodes[old])
        node.name = names[old]
        del node.input[:]
        # What only waits for another node, without reading it, has no effect once all is constant.
        node.input.extend(_renamed(value, names) for value in _values(nodes[old]))
        node.ClearField("experimental_debug_info")
        for attribute in _INCIDENTAL:
            node.attr.pop(attribute, None)
    last = made.node.add()
    last.name, last.op = answers, "Identity"
    last.input.append(_renamed(output, names))
    last.attr["T"].type = _FLOAT
    return made


_FLOAT = 1  # DT_FLOAT of TensorFlow's types.proto


def _after_what_it_reads(nodes: dict[str, Any], inputs: Sequence[str], last: str) -> list[str]:
    """Names in an order that depends on the graph alone: depth first, without recursion."""
    order, done = list(inputs), set(inputs)
    stack = [(last, False)]
    while stack:
        name, ready = stack.pop()
        if name in done:
            continue
        if ready:
            done.add(name)
            order.append(name)
            continue
        stack.append((name, True))
        stack.extend((_node_of(value), False) for value in reversed(_values(nodes[name])))
    return order


def _values(node: Any) -> list[str]:
    return [value for value in node.input if not value.startswith("^")]


def _node_of(value: str) -> str:
    return value.partition(":")[0]


def _renamed(value: str, names: dict[str, str]) -> str:
    node, _, port = value.partition(":")
    return f"{names[node]}:{port}" if port and port != "0" else names[node]
