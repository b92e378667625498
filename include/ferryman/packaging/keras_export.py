"""Writes a fitted Keras model as an ONNX graph and as a SavedModel for TensorFlow Serving.

Both come from the model's function with its weights frozen into it. Keras' own export names the
parts after counters of the process and adds a random id, so that equal models would differ in every
byte; here equal models give equal files.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferryman.errors import IntegrityBroken, SpecError
from ferryman.packaging.onnx_graph import output_name, rename_all, set_output, write_graph
from ferryman.packaging.tensor_graph import canonical_graph
from ferryman.spec.data import FeatureSpec
from ferryman.spec.metrics import Task

OPSET = 17
PREDICTIONS = "predictions"
_ANSWERS = "answers:0"


def export_keras_onnx(
    estimator: Any,
    columns: Mapping[str, FeatureSpec],
    path: Path,
    *,
    name: str,
    task: Task,
) -> None:
    """Write the graph, atomically: one input [rows, 1] float32 a feature column.

    Raises SpecError (exit 2) where a column is text or a layer has no ONNX form.
    """
    import tf2onnx

    frozen = _frozen(estimator, columns, rank=2)
    inputs = [f"column_{place}:0" for place in range(len(columns))]
    try:
        with _quiet():
            graph, _ = tf2onnx.convert.from_graph_def(
                frozen, name=name, input_names=inputs, output_names=[_ANSWERS], opset=OPSET
            )
    except (ValueError, NotImplementedError, RuntimeError) as error:
        raise _no_form("ONNX", error) from error
    answer = graph.graph.output[0]
    width = answer.type.tensor_type.shape.dim[-1].dim_value
    width = width if task == "multiclass" else 1
    set_output(graph, answer.name, task, width, output_name(task, columns))
    rename_all(graph, dict(zip(inputs, columns, strict=True)), list(columns), name)
    write_graph(graph, path)


def export_saved_model(
    estimator: Any, columns: Mapping[str, FeatureSpec], folder: Path, *, task: Task
) -> None:
    """Write a SavedModel into a folder named by a whole number, as TensorFlow Serving wants it.

    Its signature `serving_default` takes a vector [rows] float32 a feature column, so that a row of
    its REST protocol is an object of plain numbers; it answers `predictions`, [rows] or
    [rows, classes]. Raises SpecError (exit 2) where a column is text.
    """
    import tensorflow as tf

    frozen = _frozen(estimator, columns, rank=1, flat=task != "multiclass")
    v1 = tf.compat.v1
    shutil.rmtree(folder, ignore_errors=True)
    with _quiet(), tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        tf.import_graph_def(frozen, name="")
        inputs = {
            column: graph.get_tensor_by_name(f"column_{place}:0")
            for place, column in enumerate(columns)
        }
        signature = v1.saved_model.predict_signature_def(
            inputs, {PREDICTIONS: graph.get_tensor_by_name(_ANSWERS)}
        )
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            [tf.saved_model.SERVING],
            {tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: signature},
            strip_default_attrs=True,
        )
        builder.save()
    # A fingerprint holds a random number, and nothing needs it; no variables are left to keep.
    (folder / "fingerprint.pb").unlink(missing_ok=True)
    (folder / "variables").rmdir()
    _rewrite_in_order(folder / "saved_model.pb")


def load_signature(folder: Path) -> Callable[[Mapping[str, Any]], npt.NDArray[np.float64]]:
    """What a SavedModel's signature answers to one float32 array [rows] a column.

    Raises IntegrityBroken (exit 7) where it cannot be read, or cannot answer.
    """
    import tensorflow as tf

    with _readable(folder):
        loaded = tf.saved_model.load(str(folder))
        serve = loaded.signatures[tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY]

    def answer(values: Mapping[str, Any]) -> npt.NDArray[np.float64]:
        given = {name: tf.constant(value) for name, value in values.items()}
        with _readable(folder):
            return np.asarray(serve(**given)[PREDICTIONS].numpy(), dtype=np.float64)

    # The object that was loaded must outlive its signature, which holds it only weakly.
    answer.loaded = loaded  # type: ignore[attr-defined]
    return answer


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # TensorFlow's errors share no narrower base with Python's own
        text = str(error).strip().split("\n")[0][:300]
        raise IntegrityBroken(f"{folder}: not a readable SavedModel: {text}") from error


def _frozen(
    estimator: Any, columns: Mapping[str, FeatureSpec], *, rank: int, flat: bool = False
) -> Any:
    """The model as a graph without variables: inputs `column_<n>`, one output `answers`."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    text = [name for name, column in columns.items() if column.type == "category"]
    if text:
        raise SpecError(
            f"a Keras model takes numbers only; text columns: {', '.join(text[:10])}",
            remedy="Encode the categories in features.sql, or use framework sklearn.",
        )
    shape = [None, 1] if rank == 2 else [None]
    specs = [
        tf.TensorSpec(shape, tf.float32, name=f"column_{place}") for place in range(len(columns))
    ]

    @tf.function(input_signature=specs, autograph=False)  # type: ignore[untyped-decorator]
    def answer(*values: Any) -> Any:
        rows = tf.concat(values, axis=1) if rank == 2 else tf.stack(values, axis=1)
        answers = estimator(rows, training=False)
        return tf.reshape(answers, [-1]) if flat else answers

    try:
        frozen = convert_variables_to_constants_v2(
            answer.get_concrete_function(), lower_control_flow=False
        )
    except (ValueError, TypeError, NotImplementedError) as error:
        raise _no_form("frozen", error) from error
    inputs = [tensor.op.name for tensor in frozen.inputs]
    return canonical_graph(frozen.graph.as_graph_def(), inputs, frozen.outputs[0].name, "answers")


def _rewrite_in_order(file: Path) -> None:
    """The same message with maps in the order of their keys: equal content, equal bytes."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    message = SavedModel.FromString(file.read_bytes())
    file.write_bytes(message.SerializeToString(deterministic=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without TensorFlow's advice that these interfaces are of its first version."""
    tensorflow = logging.getLogger("tensorflow")
    level = tensorflow.level
    tensorflow.setLevel(logging.ERROR)
    try:
        yield
    finally:
        tensorflow.setLevel(level)


def _no_form(form: str, error: Exception) -> SpecError:
    text = str(error).strip().split("\n")[0][:500]
    return SpecError(
        f"the Keras model has no {form} form: {text}",
        remedy="Use layers that TensorFlow and tf2onnx convert.",
    )
