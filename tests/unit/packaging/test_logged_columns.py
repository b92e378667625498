"""What the declaration lets the prediction log keep stands in the bundle's signature."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ferryman.packaging.bundle_writer import PackedModel, write_bundle
from ferryman.runtime.bundle import SIGNATURE, Signature
from ferryman.runtime.files import read_json
from ferryman.spec.model import DeclaredModel
from ferryman.spec.serving import PredictionLogSpec, ServingSpec
from ferryman.training.trainers import load_model_file, make_trainer


@pytest.mark.parametrize(("columns", "logged"), [("all", None), (["humidity"], ["humidity"])])
def test_declared_columns_are_signed(
    columns: str | list[str],
    logged: list[str] | None,
    rain: DeclaredModel,
    rain_frame: Callable[..., pd.DataFrame],
    tmp_path: Path,
) -> None:
    serving = ServingSpec(log=PredictionLogSpec.model_validate({"columns": columns}))
    spec = rain.spec.model_copy(update={"serving": serving})
    model_file = tmp_path / "model.skops"
    make_trainer(spec).fit(rain_frame(2), rain).save(model_file)
    packed = PackedModel(model_file, lambda file: load_model_file(file, spec), {})
    bundle = write_bundle(
        packed, spec, rain_frame(2), work=tmp_path / "work", bundles_root=tmp_path / "bundles"
    )
    assert Signature.model_validate(read_json(bundle.folder / SIGNATURE)).logged == logged
