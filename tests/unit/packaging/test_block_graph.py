"""A graph that takes blocks answers as the one that takes columns, whatever it does with them."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from ferryman.packaging import serving_graph
from ferryman.packaging.block_graph import block_graph, blocks_of
from ferryman.packaging.export import export_onnx
from ferryman.packaging.onnx_scorer import feed, open_session
from ferryman.packaging.parity import Trained
from ferryman.packaging.probes import probe_rows
from ferryman.packaging.serving_graph import join_blocks, write_serving_graph
from ferryman.runtime.bundle import ONNX, SERVING_ONNX, FeatureColumn
from ferryman.spec.model import DeclaredModel
from ferryman.training.trainers import make_trainer

Frames = Callable[..., pd.DataFrame]
ROWS = 3


def operators(model: Any) -> list[str]:
    return [node.op_type for node in model.graph.node]


def columns_of(model: Any) -> dict[str, Any]:
    """Three rows of other values in every column."""
    found: dict[str, Any] = {}
    for place, entry in enumerate(model.graph.input):
        kind = entry.type.tensor_type.elem_type
        values = np.arange(ROWS).reshape(-1, 1) + 10 * place
        text = kind == TensorProto.STRING
        found[entry.name] = (
            values.astype(str).astype(object)
            if text
            else (values + 0.25).astype(helper.tensor_dtype_to_np_dtype(kind))
        )
    return found


def run(model: Any, inputs: dict[str, Any]) -> list[Any]:
    onnx.checker.check_model(model, full_check=True)
    return list(open_session(model.SerializeToString(), "test").run(None, inputs))


def simplified(model: Any) -> Any:
    """The simple form, after both forms were found to answer as the model."""
    columns = columns_of(model)
    names = sorted(columns, key=list(columns).index)
    blocks = blocks_of(model, names)
    assert blocks
    expected = run(model, columns)
    for simplify in (False, True):
        made = block_graph(model, blocks, simplify=simplify)
        assert [entry.name for entry in made.graph.input] == list(blocks)
        for got, wanted in zip(run(made, join_blocks(columns, blocks)), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
    assert made.opset_import == model.opset_import
    again = block_graph(model, blocks, simplify=True)
    assert again.SerializeToString(deterministic=True) == made.SerializeToString(deterministic=True)
    return made


def graph(text: str, inputs: str = "a b c d", kind: str = "float", outputs: str = "") -> Any:
    given = ", ".join(f"{kind}[rows, 1] {name}" for name in inputs.split())
    answers = outputs or f"{kind}[rows, m] answer"
    return parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 2]>\n'
        f"test ({given}) => ({answers}) {{ {text} }}"
    )


def test_columns_joined_in_their_order_are_the_block() -> None:
    made = simplified(graph("j = Concat <axis = 1> (a, b, c, d)  answer = Neg(j)"))
    assert operators(made) == ["Neg"]
    assert list(made.graph.node[0].input) == ["float32"]


def test_columns_that_are_treated_alike_first_are_cast_once() -> None:
    made = simplified(
        graph(
            "s = Constant <value = int64[2] {-1, 1}> () "
            "a1 = Identity(a) a2 = Cast <to = 11> (a1) b1 = Reshape(b, s) b2 = Cast <to = 11> (b1) "
            "c2 = Cast <to = 11> (c) d2 = Cast <to = 11> (d) "
            "j = Concat <axis = -1> (a2, b2, c2, d2) answer = Neg(j)",
            outputs="double[rows, m] answer",
        )
    )
    assert operators(made) == ["Cast", "Neg"]


def test_a_run_is_a_slice_and_another_order_is_gathered() -> None:
    made = simplified(graph("j = Concat <axis = 1> (b, c)  answer = Neg(j)"))
    assert operators(made) == ["Slice", "Neg"]
    made = simplified(graph("j = Concat <axis = 1> (c, a, a)  answer = Neg(j)"))
    assert operators(made) == ["Gather", "Neg"]


def test_parts_that_do_not_overlap_are_one_split_and_others_slices() -> None:
    made = simplified(
        graph("j = Concat <axis = 1> (c, d) k = Neg(a) answer = Concat <axis = 1> (j, k)")
    )
    assert operators(made) == ["Split", "Neg", "Concat"]
    made = simplified(
        graph(
            "j = Concat <axis = 1> (a, b, c) n = Neg(j) k = Concat <axis = 1> (c, d) m = Neg(k) "
            "answer = Concat <axis = 1> (n, m)"
        )
    )
    assert operators(made) == ["Slice", "Slice", "Neg", "Neg", "Concat"]


def test_neighbours_in_a_mixed_join_are_taken_together() -> None:
    made = simplified(graph("n = Neg(a) answer = Concat <axis = 1> (n, b, c, d)"))
    assert operators(made) == ["Split", "Neg", "Concat"]
    assert len(made.graph.node[-1].input) == 2


def test_text_is_encoded_column_by_column_without_idle_reshapes() -> None:
    made = simplified(
        graph(
            "s = Constant <value = int64[2] {-1, 1}> () "
            'x = ai.onnx.ml.LabelEncoder <keys_strings = ["0", "1"], values_int64s = [7, 8]> (a) '
            'y = ai.onnx.ml.LabelEncoder <keys_strings = ["11"], values_int64s = [5]> (b) '
            "x1 = Reshape(x, s) y1 = Reshape(y, s) answer = Concat <axis = 1> (x1, y1)",
            inputs="a b",
            kind="string",
            outputs="int64[rows, 2] answer",
        )
    )
    assert operators(made) == ["Split", "LabelEncoder", "LabelEncoder", "Concat"]


def test_columns_may_have_the_names_of_blocks_and_parts() -> None:
    made = simplified(
        graph(
            "n = Neg(float32) answer = Concat <axis = 1> (n, text_0, float32_0)",
            inputs="text_0 float32_0 float32",
        )
    )
    assert list(made.graph.input[0].type.tensor_type.shape.dim)[1].dim_value == 3


def test_a_column_that_is_answered_or_not_read_stays_right() -> None:
    simplified(graph("answer = Identity(c)"))
    simplified(
        graph(
            "answer = Concat <axis = 1> (c, d) other = Identity(answer)",
            outputs="float[rows, 2] answer, float[rows, 2] other",
        )
    )


def test_sub_graphs_read_columns_from_outside() -> None:
    simplified(
        graph(
            "one = Constant <value = bool {1}> () n = Identity(b) "
            "answer = If (one) <"
            "then_branch = t () => (float[rows, m] y) { y = Concat <axis = 1> (a, n) }, "
            "else_branch = e () => (float[rows, m] z) { z = Neg(c) } >"
        )
    )


def test_a_shape_that_is_worked_out_at_every_call_becomes_constant() -> None:
    made = simplified(
        graph(
            "w = Constant <value = int64[4] {-1, 1, 2, 2}> () "
            "k = Constant <value = int64[1] {4}> () "
            "z = Constant <value = int64[1] {0}> () o = Constant <value = int64[1] {1}> () "
            "j = Concat <axis = 1> (a, b, c, d) p = Reshape(j, w) q = Neg(p) s = Shape(q) "
            "first = Slice(s, z, o) shape = Concat <axis = 0> (first, k) r = Reshape(q, shape) "
            "answer = Neg(r)"
        )
    )
    assert operators(made) == ["Reshape", "Neg", "Reshape", "Neg"]


@pytest.mark.parametrize("opset", [9, 11, 17])
@pytest.mark.parametrize("seed", range(15))
def test_any_tangle_of_columns_answers_the_same(seed: int, opset: int) -> None:
    draw = np.random.default_rng(seed)
    kinds = (TensorProto.FLOAT, TensorProto.INT64, TensorProto.DOUBLE)
    names = [f"c{place}" for place in range(7)]
    types = [kinds[int(draw.integers(3))] for _ in names]
    values = [(name, kind, 1) for name, kind in zip(names, types, strict=True)]
    nodes, constants = [], []
    for place in range(25):
        name, kind, width = values[draw.integers(len(values))]
        out = f"v{place}"
        match draw.integers(5):
            case 0:
                nodes.append(helper.make_node("Identity", [name], [out]))
            case 1:
                kind = TensorProto.FLOAT
                nodes.append(helper.make_node("Cast", [name], [out], to=kind))
            case 2:
                nodes.append(helper.make_node("Neg", [name], [out]))
            case 3:
                picked = draw.integers(width, size=draw.integers(1, 4))
                width = len(picked)
                constants.append(numpy_helper.from_array(picked, f"k{place}"))
                nodes.append(helper.make_node("Gather", [name, f"k{place}"], [out], axis=1))
            case _:
                alike = [value for value in values if value[1] == kind]
                joined = [alike[draw.integers(len(alike))] for _ in range(3)]
                width = sum(value[2] for value in joined)
                nodes.append(helper.make_node("Concat", [v[0] for v in joined], [out], axis=1))
        values.append((out, kind, width))
    inputs = [
        helper.make_tensor_value_info(name, kind, ["rows", 1])
        for name, kind in zip(names, types, strict=True)
    ]
    answers = [helper.make_tensor_value_info(n, k, ["rows", w]) for n, k, w in values[-3:]]
    made = helper.make_graph(nodes, "tangle", inputs, answers, constants)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 2)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=8)
    assert len(operators(simplified(model))) <= len(nodes) + 10


def test_a_type_without_a_block_has_no_blocks() -> None:
    assert blocks_of(graph("answer = Identity(a)", inputs="a", kind="bool"), ["a"]) == {}


@pytest.fixture
def exported(rain: DeclaredModel, rain_frame: Frames, tmp_path: Path) -> Trained:
    frame, columns = rain_frame(3), rain.spec.features.columns
    fitted = make_trainer(rain.spec).fit(frame, rain)
    export_onnx(fitted.estimator, columns, tmp_path / ONNX, name="rain")
    probes = probe_rows(frame, columns, count=100, seed=1)
    return Trained(probes, fitted.predict(probes), fitted.predict, columns, ["wet"])


def test_a_failed_simplification_leaves_the_plain_form(
    exported: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    real = serving_graph.block_graph

    def wrong(model: Any, blocks: Any, *, simplify: bool) -> Any:
        made = real(model, blocks, simplify=simplify)
        if simplify:
            for node in made.graph.node:
                if node.op_type == "TreeEnsembleClassifier":
                    node.input[0] = "float32"  # as if the words were lost
        return made

    monkeypatch.setattr(serving_graph, "block_graph", wrong)
    with caplog.at_level(logging.WARNING):
        blocks, formats = write_serving_graph(tmp_path, exported)
    assert "not simplified" in caplog.text
    assert "Split" in operators(onnx.load(tmp_path / SERVING_ONNX))
    assert np.abs(formats["serving"](exported.rows) - exported.answers).max() < 1e-5
    assert list(blocks) == ["text", "float32"]


def test_a_model_is_served_by_its_columns_where_no_form_of_blocks_is_right(
    exported: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def broken(model: Any, blocks: Any, *, simplify: bool) -> Any:
        return model

    monkeypatch.setattr(serving_graph, "block_graph", broken)
    with caplog.at_level(logging.WARNING):
        assert write_serving_graph(tmp_path, exported) == ({}, {})
    assert "not of blocks" in caplog.text
    assert not (tmp_path / SERVING_ONNX).exists()


def test_an_exported_pipeline_is_simplified(exported: Trained, tmp_path: Path) -> None:
    blocks, formats = write_serving_graph(tmp_path, exported)
    first = (tmp_path / SERVING_ONNX).read_bytes()
    made = onnx.load(tmp_path / SERVING_ONNX)
    assert [entry.name for entry in made.graph.input] == list(blocks) == ["text", "float32"]
    assert not {"Slice", "Reshape"} & set(operators(made))
    assert np.abs(formats["serving"](exported.rows) - exported.answers).max() < 1e-5
    write_serving_graph(tmp_path, exported)
    assert (tmp_path / SERVING_ONNX).read_bytes() == first
    features = [FeatureColumn(name=n, type=c.type) for n, c in exported.columns.items()]
    assert set(join_blocks(feed(exported.rows, features), blocks)) == set(blocks)
