"""Errors in the user's pipeline.py name file and line; nothing is left behind in the folder."""

from collections.abc import Callable

import pandas as pd
import pytest

from ferryman.errors import SpecError
from ferryman.spec.model import DeclaredModel
from ferryman.training.pipeline_file import build_estimator
from ferryman.training.trainer import FitPlan
from ferryman.training.trainers import make_trainer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def build(params, seed)\n    return 1\n", r"pipeline\.py:1: expected ':'"),
        ("\nimport no_such_library\n", r"pipeline\.py:2: ModuleNotFoundError: .*no_such_library"),
        ("x = 1\n", r"pipeline\.py:1: no function 'build'"),
        ("def build(params, seed):\n\n    return params['depth']\n", r":3: KeyError: 'depth'"),
        ("def build(params):\n    return 1\n", r"pipeline\.py:1: TypeError: build\(\) takes 1"),
        (
            "\n\ndef build(params, seed):\n    return 1\n",
            r":3: build returned int, which has no fit",
        ),
        (
            "from sklearn.svm import LinearSVC\ndef build(params, seed):\n    return LinearSVC()\n",
            r"pipeline\.py:1: ValueError: could not convert string to float",
        ),
        (
            "from sklearn.cluster import KMeans\nfrom sklearn.pipeline import make_pipeline\n"
            "from sklearn.compose import make_column_transformer as mct\n"
            "def build(params, seed):\n"
            "    return make_pipeline(mct(('passthrough', ['clouds'])), KMeans(2, n_init=1))\n",
            r"pipeline\.py:1: Pipeline has no predict_proba",
        ),
    ],
)
def test_mistakes_name_file_and_line(
    rain: DeclaredModel, rain_frame: Callable[..., pd.DataFrame], text: str, expected: str
) -> None:
    (rain.folder / "pipeline.py").write_text(text)
    frame = rain_frame(1).assign(sky="grey").dropna()
    with pytest.raises(SpecError, match=expected):
        make_trainer(rain.spec).fit(frame, rain)


def test_a_changed_file_is_read_again(rain: DeclaredModel) -> None:
    file = rain.folder / "pipeline.py"
    text = "class A:\n    fit = {}\ndef build(params, seed):\n    return A()\n"
    file.write_text(text.format(1))
    assert build_estimator(rain, FitPlan.of(rain.spec.train)).fit == 1
    file.write_text(text.format(2))
    assert build_estimator(rain, FitPlan.of(rain.spec.train)).fit == 2


def test_parameters_and_seed_arrive_and_no_bytecode_is_left(rain: DeclaredModel) -> None:
    estimator = build_estimator(rain, FitPlan.of(rain.spec.train))
    assert estimator.named_steps["trees"].max_iter == 20
    assert estimator.named_steps["trees"].random_state == 7
    assert not (rain.folder / "__pycache__").exists()
