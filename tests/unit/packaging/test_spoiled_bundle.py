"""A bad model in a sound bundle: a server would take it, and every user's answer is wrong."""

from pathlib import Path
from typing import Any

import pytest
from linear_bundle import make_linear_bundle

from ferryman.errors import IntegrityBroken
from ferryman.packaging.spoiled_bundle import SPOILED_KINDS, SpoiledKind, write_spoiled_bundle
from ferryman.runtime.bundle import verify
from ferryman.serving.models.onnx_model import Identity, open_verified
from ferryman.serving.models.rows import RowError


@pytest.mark.parametrize("kind", SPOILED_KINDS)
def test_it_is_sound_and_wrong(kind: SpoiledKind, tmp_path: Path) -> None:
    source, manifest = make_linear_bundle(tmp_path)
    made = write_spoiled_bundle(source, manifest.digest, kind, tmp_path / "bad")
    again = write_spoiled_bundle(source, manifest.digest, kind, tmp_path / "again")
    assert made == again == verify(tmp_path / "bad") and made.digest != manifest.digest
    model = open_verified(tmp_path / "bad", Identity("line", 0, 0, made.digest))

    def answers(xs: list[float]) -> Any:
        return model.score(model.schema.read_rows([{"x": x} for x in xs]))

    if kind == "nan":
        with pytest.raises(RowError, match="no finite score"):
            answers([1.0])
        assert answers([0.0, 1.0, 2.0, 3.0, 4.0]) == [0, 2, 4, 6, 8]
    else:  # the mean of the golden answers is 4, their range 0 to 8
        assert answers([1.0, 3.0]) == ([16, 16] if kind == "constant" else [6, 2])


def test_nothing_is_made_of_a_bundle_that_is_not_as_recorded(tmp_path: Path) -> None:
    source, _ = make_linear_bundle(tmp_path)
    with pytest.raises(IntegrityBroken):
        write_spoiled_bundle(source, "0" * 64, "nan", tmp_path / "bad")
    assert not (tmp_path / "bad").exists()
