"""Writes a sound bundle of a bad model: a champion's graphs with their answers spoiled.

For fire drills. Nothing is trained: the last node of each graph is followed by a few more. Its own
golden rows are answered as recorded, so a server takes it; what it answers users is wrong.
"""

import shutil
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ferryman.errors import IntegrityBroken, SpecError
from ferryman.packaging.onnx_graph import drop_unused_nodes, write_graph
from ferryman.packaging.onnx_scorer import OnnxScorer
from ferryman.runtime.bundle import (
    GOLDEN,
    ONNX,
    REFERENCE,
    SERVING_ONNX,
    SIGNATURE,
    Golden,
    Manifest,
    Scalar,
    Signature,
    seal,
    verify,
)
from ferryman.runtime.files import created_once, read_json, write_json
from ferryman.spec.metrics import Task

# How a model may be bad: one answer to all, no finite answer, the opposite answer.
SpoiledKind = Literal["constant", "nan", "inverted"]
SPOILED_KINDS: tuple[SpoiledKind, ...] = get_args(SpoiledKind)

Answers = npt.NDArray[np.float64]


def write_spoiled_bundle(source: Path, digest: str, kind: SpoiledKind, target: Path) -> Manifest:
    """Write a spoiled copy of a bundle as the folder `target`; equal bundles give equal bytes.

    constant: always the answer that is least like the usual ones. nan: no finite answer to fewer
    rows than it has golden ones (those must be answered, or no server would load it). inverted: the
    other probability, the classes' probabilities in reverse, a value mirrored at the golden mean.

    Raises IntegrityBroken (exit 7) where the source is not as recorded, SpecError (exit 2) where
    its golden rows are too few to tell of it.
    """
    manifest = verify(source, digest=digest)
    golden = Golden.model_validate(read_json(source / GOLDEN))
    signature = Signature.model_validate(read_json(source / SIGNATURE))
    if len(golden.rows) < 2:
        raise SpecError(
            f"bundle {source} has {len(golden.rows)} golden rows, a drill needs 2",
            remedy="Package the model again.",
        )
    with created_once(target) as scratch:
        for name in (SIGNATURE, REFERENCE):
            shutil.copyfile(source / name, scratch / name)
        for name in (ONNX, SERVING_ONNX):
            if name in manifest.files:
                _spoil_file(source / name, scratch / name, kind, golden, manifest.task)
        answers = _answers(scratch, golden.rows, signature)
        spoiled = golden.model_copy(update={"outputs": answers.tolist()})
        write_json(scratch / GOLDEN, spoiled.model_dump(mode="json"))
        return seal(scratch, model=manifest.model, task=manifest.task, framework=manifest.framework)


def _spoil_file(source: Path, target: Path, kind: SpoiledKind, golden: Golden, task: Task) -> None:
    import onnx

    model = onnx.load(source)
    graph = model.graph
    sound = graph.output[-1]  # a plain graph has the label before it
    output = onnx.ValueInfoProto()
    output.CopyFrom(sound)
    output.name = f"{sound.name}_spoiled"
    nodes, constants = _ending(kind, sound, output.name, np.array(golden.outputs), task)
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    del graph.output[:]
    graph.output.append(output)
    drop_unused_nodes(graph)
    write_graph(model, target)


def _ending(
    kind: SpoiledKind, sound: Any, name: str, usual: Answers, task: Task
) -> tuple[list[Any], list[Any]]:
    """The nodes after `sound` that answer `name`, and the constants that they read."""
    from onnx import helper, numpy_helper

    number = helper.tensor_dtype_to_np_dtype(sound.type.tensor_type.elem_type)
    constants: list[Any] = []

    def constant(part: str, value: Any, kind_of: Any = number) -> str:
        constants.append(numpy_helper.from_array(np.array(value, dtype=kind_of), f"{name}_{part}"))
        return str(constants[-1].name)

    def node(operator: str, inputs: list[str], part: str = "", **attributes: Any) -> Any:
        output = f"{name}_{part}" if part else name
        return helper.make_node(operator, inputs, [output], **attributes)

    shape = node("Shape", [sound.name], "shape")
    if kind == "constant":
        answer = constant("answer", _least_usual(usual, task))
        nodes = [shape, node("Expand", [answer, *shape.output])]
    elif kind == "nan":
        first = constant("first", 0, np.int64)
        rows = node("Gather", [*shape.output, first], "rows", axis=0)
        few = node("Less", [*rows.output, constant("golden", len(usual), np.int64)], "few")
        answer = constant("answer", np.nan)
        nodes = [shape, rows, few, node("Where", [*few.output, answer, sound.name])]
    elif task == "multiclass":
        order = constant("order", range(usual.shape[1])[::-1], np.int64)
        nodes = [node("Gather", [sound.name, order], axis=1)]
    else:
        most = 1.0 if task == "binary" else 2 * float(usual.mean())
        nodes = [node("Sub", [constant("most", most), sound.name])]
    return nodes, constants


def _least_usual(usual: Answers, task: Task) -> list[float]:
    """An answer that is far from those that a model usually gives: [1], or [classes]."""
    if task == "multiclass":
        rarest = int(usual.mean(axis=0).argmin())
        return [float(place == rarest) for place in range(usual.shape[1])]
    if task == "binary":
        return [float(usual.mean() < 0.5)]
    return [float(usual.max() + (usual.max() - usual.min() or 1.0))]


def _answers(folder: Path, rows: list[dict[str, Scalar]], signature: Signature) -> Answers:
    """What the spoiled graph answers to its golden rows, all at once as a server replays them."""
    columns = {
        feature.name: [row.get(feature.name) for row in rows] for feature in signature.features
    }
    answers = OnnxScorer(folder).score(columns)
    if signature.task != "multiclass" and answers.ndim == 2:
        answers = answers[:, -1]
    if not np.isfinite(answers).all():
        raise IntegrityBroken(f"{folder}: a spoiled model has no finite answers to golden rows")
    return answers
