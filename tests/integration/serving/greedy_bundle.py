"""A real bundle whose model takes memory: much for each row, and gives it back to nobody."""

from pathlib import Path
from typing import Any

from ferryman.runtime.bundle import GOLDEN, ONNX, REFERENCE, SIGNATURE, seal
from ferryman.runtime.files import write_json


def make_greedy_bundle(folder: Path, numbers: int) -> str:
    """A bundle of the model `line`, y = x, that fills `numbers` float32 a row; its digest."""
    import onnx
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])
    y = helper.make_tensor_value_info("value", TensorProto.FLOAT, [None, 1])
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, numbers])
    nodes = [
        helper.make_node("Expand", ["x", "shape"], ["wide"]),
        helper.make_node("ReduceMax", ["wide"], ["value"], axes=[1], keepdims=1),
    ]
    graph = helper.make_graph(nodes, "line", [x], [y], initializer=[shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True)
    onnx.save(model, folder / ONNX)
    feature: dict[str, Any] = {"name": "x", "type": "number", "nullable": False}
    signature = {"features": [feature], "task": "regression", "entity": ["x"], "output": "y"}
    write_json(folder / SIGNATURE, signature)
    write_json(folder / GOLDEN, {"rows": [{"x": 1.0}], "outputs": [1.0]})
    write_json(folder / REFERENCE, {})
    return seal(folder, model="line", task="regression", framework="sklearn").digest
