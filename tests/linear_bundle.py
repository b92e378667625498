"""A real bundle of one number in and one out: y = 2x."""

from pathlib import Path
from typing import Any

from ferryman.runtime.bundle import GOLDEN, ONNX, REFERENCE, SIGNATURE, Manifest, seal
from ferryman.runtime.files import write_json

LINE = "line"


def make_linear_bundle(bundles_root: Path, slope: float = 2.0) -> tuple[Path, Manifest]:
    """The folder of a sealed bundle of the model `line`, y = slope * x, at its proper place."""
    import onnx
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])
    y = helper.make_tensor_value_info("value", TensorProto.FLOAT, [None, 1])
    factor = helper.make_tensor("slope", TensorProto.FLOAT, [1], [slope])
    product = helper.make_node("Mul", ["x", "slope"], ["value"])
    graph = helper.make_graph([product], LINE, [x], [y], initializer=[factor])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name=LINE
    )
    scratch = bundles_root / LINE / f"slope-{slope}"
    scratch.mkdir(parents=True)
    onnx.save(model, scratch / ONNX)
    feature: dict[str, Any] = {"name": "x", "type": "number", "nullable": False}
    signature = {"features": [feature], "task": "regression", "entity": ["x"], "output": "y"}
    write_json(scratch / SIGNATURE, signature)
    rows = [{"x": float(value)} for value in range(5)]
    write_json(scratch / GOLDEN, {"rows": rows, "outputs": [slope * row["x"] for row in rows]})
    write_json(scratch / REFERENCE, {})
    manifest = seal(scratch, model=LINE, task="regression", framework="sklearn")
    folder = scratch.with_name(manifest.digest)
    scratch.rename(folder)
    return folder, manifest
