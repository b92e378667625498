"""Candidates of the model `line` that tell who answered: y = slope * x, and odder ones.

Every row also names `k`, whom it is about.
"""

from pathlib import Path
from typing import Any, Literal, NamedTuple

from ferryman.runtime.bundle import GOLDEN, ONNX, REFERENCE, SIGNATURE, seal
from ferryman.runtime.files import write_json
from ferryman.runtime.traffic import Traffic, Variant

LINE = "line"
OP = "5e" * 32
Kind = Literal["line", "root", "sum", "fat"]
_FLOATS = 15_000_000  # that a "fat" one needs for a row: 60 MB


class LineBundle(NamedTuple):
    """A sealed bundle at its proper place."""

    folder: Path
    digest: str
    slope: float


def make_line(bundles_root: Path, slope: float = 2.0, kind: Kind = "line") -> LineBundle:
    """y = slope * x; a "root" is slope * sqrt(x), no number below 0; a "sum" slope * x + k.

    A "fat" one is a line that needs much memory.
    """
    import onnx
    from onnx import TensorProto, helper

    names = ["x", "k"] if kind == "sum" else ["x"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in names]
    output = helper.make_tensor_value_info("value", TensorProto.FLOAT, [None, 1])
    factor = helper.make_tensor("slope", TensorProto.FLOAT, [1], [slope])
    nodes = [helper.make_node("Sqrt", ["x"], ["root"])] if kind == "root" else []
    last = "value" if kind in ("line", "root") else "product"
    nodes.append(helper.make_node("Mul", ["root" if nodes else "x", "slope"], [last]))
    if kind == "sum":
        nodes.append(helper.make_node("Add", ["product", "k"], ["value"]))
    if kind == "fat":
        nodes += [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Mul", ["shape", "many"], ["size"]),
            helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
            helper.make_node("ReduceMax", ["zeros"], ["zero"]),
            helper.make_node("Add", ["product", "zero"], ["value"]),
        ]
    many = helper.make_tensor("many", TensorProto.INT64, [2], [_FLOATS, 1])
    known = [factor, many] if kind == "fat" else [factor]
    graph = helper.make_graph(nodes, LINE, inputs, [output], initializer=known)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    scratch = bundles_root / LINE / f"{kind}-{slope}"
    scratch.mkdir(parents=True)
    onnx.save(model, scratch / ONNX)
    features = [{"name": name, "type": "number", "nullable": False} for name in names]
    signature = {"features": features, "task": "regression", "entity": ["k"], "output": "y"}
    write_json(scratch / SIGNATURE, signature)
    rows = [{name: float(value) for name in names} for value in (0, 1, 4)]
    outputs = [
        slope * (row["x"] ** 0.5 if kind == "root" else row["x"]) + row.get("k", 0.0)
        for row in rows
    ]
    write_json(scratch / GOLDEN, {"rows": rows, "outputs": outputs})
    write_json(scratch / REFERENCE, {})
    manifest = seal(scratch, model=LINE, task="regression", framework="sklearn")
    folder = scratch.with_name(manifest.digest)
    scratch.rename(folder)
    return LineBundle(folder, manifest.digest, slope)


def share_of(bundle: LineBundle, variant: Variant = "canary", **told: Any) -> Traffic:
    """A share of half the requests beside epoch 1, for a minute, unless told otherwise."""
    usual = {"op": OP, "version": 7, "weight": 0.5, "base_epoch": 1, "fence": 1, "stage": 0}
    return Traffic(variant=variant, digest=bundle.digest, **{**usual, "lease": 60.0, **told})
