"""Model files: equal models are equal bytes, own code is refused, damage is noticed."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from ferryman.errors import IntegrityBroken, PolicyRefused
from ferryman.training.skops_file import load_skops, save_skops

VALUES = np.linspace(0, 1, 200, dtype=np.float32).reshape(-1, 2)
LABELS = VALUES[:, 0] > 0.5


def shout(values: object) -> object:
    return values


@pytest.mark.parametrize(
    "model",
    [
        HistGradientBoostingClassifier(max_iter=3),
        RandomForestClassifier(3),
        ExtraTreesClassifier(3),
        GradientBoostingClassifier(n_estimators=3),
        LogisticRegression(),
    ],
)
def test_usual_classifiers_are_trusted(model: object, tmp_path: Path) -> None:
    pipeline = make_pipeline(StandardScaler(), model).fit(VALUES, LABELS)
    save_skops(pipeline, tmp_path / "m.skops")
    loaded = load_skops(tmp_path / "m.skops")
    assert (loaded.predict_proba(VALUES) == pipeline.predict_proba(VALUES)).all()


def test_own_functions_are_refused_when_saving(tmp_path: Path) -> None:
    pipeline = make_pipeline(FunctionTransformer(shout), LogisticRegression()).fit(VALUES, LABELS)
    with pytest.raises(PolicyRefused, match=r"not trusted: .*shout"):
        save_skops(pipeline, tmp_path / "m.skops")
    assert not (tmp_path / "m.skops").exists()


def test_own_functions_are_refused_when_loading(tmp_path: Path) -> None:
    file = tmp_path / "m.skops"
    skops.io.dump(FunctionTransformer(shout), file)
    with pytest.raises(PolicyRefused, match=r"not trusted: .*shout"):
        load_skops(file)


@pytest.mark.parametrize("damage", ["cut", "text", "no schema"])
def test_damaged_files_are_noticed(damage: str, tmp_path: Path) -> None:
    file = tmp_path / "m.skops"
    save_skops(LogisticRegression().fit(VALUES, LABELS), file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:500])
    elif damage == "text":
        file.write_text("not a model")
    else:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("other.json", "{}")
    with pytest.raises(IntegrityBroken, match="not a readable skops file"):
        load_skops(file)
