"""Sound bundles of bad models: their golden rows verify, and users would suffer."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper
from small_bundles import SmallBundle

from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import PROMOTE, Candidate, Op, State
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.runtime.bundle import GOLDEN, MANIFEST, SERVING_ONNX, seal
from ferryman.runtime.files import write_json
from ferryman.settings import Settings

Fault = Literal["constant", "slow", "failing"]
FAR = 9000.0  # a distance that a failing model has no finite score for
_SAID = 0.4
_SIDE, _TIMES = 700, 6  # of the products that make a model slow: tens of milliseconds


def make_bad(make_bundle: Callable[..., Any], root: Path, fault: Fault) -> SmallBundle:
    """A model `tiny` below a bundles root: says one thing, is slow, or fails at distance FAR."""
    good = make_bundle(root, 0.1)  # what serves: nothing but its fault tells it from the champion
    folder = root / "tiny" / fault
    shutil.copytree(good.folder, folder)
    (folder / MANIFEST).unlink()
    file = folder / SERVING_ONNX
    model = onnx.load(file)
    _ADDED[fault](model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, file)
    outputs = [_SAID] * len(good.rows) if fault == "constant" else good.outputs
    golden = {**json.loads((folder / GOLDEN).read_text()), "outputs": outputs}
    write_json(folder / GOLDEN, golden)
    digest = seal(folder, model="tiny", task="binary", framework="sklearn").digest
    return SmallBundle(folder.rename(folder.with_name(digest)), digest, good.rows, outputs)


def stage_bad(settings: Settings, bundle: SmallBundle, given: dict[str, Any]) -> Op:
    """Its promotion as if a gate had been deceived: registered, gated, staged, to be exposed."""
    registry = MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts)
    tags = {name: str(given[name]) for name in ("train_dataset", "eval_dataset")}
    tags = {
        f"ferryman.{name}": value for name, value in {**tags, "cutoff": given["cutoff"]}.items()
    }
    made = registry.register("tiny", "key-bad", bundle.digest, str(bundle.folder), tags)
    changed = {"version": made.version, "sequence": made.version, "run_key": "key-bad"}
    place = {"digest": bundle.digest, "bundle": str(bundle.folder)}
    ledger = Ledger(settings.ledger_url)
    op = ledger.open_op(
        PROMOTE, "tiny", Candidate.model_validate({**given, **changed, **place}), "tests", "bad"
    )
    ledger.advance(op.op_id, State.REGISTERED, {}, base_epoch=0)
    requires: Any = {"requires": {"approval": False, "exposure": True}}
    ledger.advance(op.op_id, State.GATED, requires, base_epoch=1)
    return ledger.advance(op.op_id, State.STAGED, {}, base_epoch=1)


def _renamed(graph: Any) -> str:
    """Take the graph's output away from its last node; the new name of that."""
    for node in graph.node:
        for place, name in enumerate(node.output):
            if name == "probability":
                node.output[place] = "before"
    return "before"


def _add(graph: Any, kind: str, inputs: list[str], output: str, **given: Any) -> None:
    graph.node.append(helper.make_node(kind, inputs, [output], **given))


def _number(graph: Any, name: str, value: Any) -> None:
    graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), name))


def _constant(graph: Any) -> None:
    said = _renamed(graph)
    _number(graph, "nothing", 0.0)
    _number(graph, "said", _SAID)
    _add(graph, "Mul", [said, "nothing"], "zeros")
    _add(graph, "Add", ["zeros", "said"], "probability")


def _failing(graph: Any) -> None:
    said = _renamed(graph)
    _number(graph, "far", FAR - 1)
    _number(graph, "no_number", np.nan)
    _add(graph, "ReduceMax", ["float32"], "largest", axes=[1], keepdims=0)
    _add(graph, "Greater", ["largest", "far"], "is_far")
    _add(graph, "Where", ["is_far", "no_number", said], "probability")


def _slow(graph: Any) -> None:
    said = _renamed(graph)
    _number(graph, "nothing", 0.0)
    shape = numpy_helper.from_array(np.array([_SIDE, _SIDE], np.int64), "shape")
    graph.initializer.append(shape)
    _add(graph, "ReduceSum", [said], "all", keepdims=0)  # of the input, or it is made beforehand
    _add(graph, "Mul", ["all", "nothing"], "zero")
    _add(graph, "Expand", ["zero", "shape"], "product_0")
    for place in range(_TIMES):
        _add(graph, "MatMul", [f"product_{place}"] * 2, f"product_{place + 1}")
    _add(graph, "ReduceSum", [f"product_{_TIMES}"], "made", keepdims=0)
    _add(graph, "Add", [said, "made"], "probability")


_ADDED: dict[Fault, Callable[[Any], None]] = {
    "constant": _constant,
    "slow": _slow,
    "failing": _failing,
}
