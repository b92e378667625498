"""A bundle may hold an MLmodel file, for MLflow's own users; nothing of ours believes it."""

import ast
import json
import sys
from pathlib import Path

from served_here import ServedHere
from small_bundles import BundleMaker

from ferryman.runtime.bundle import MANIFEST, seal
from ferryman.runtime.files import write_json

SOURCES = Path(__file__).parents[3] / "include" / "ferryman"
EVIL = "ferryman_test_evil_code"
MLMODEL = f"""\
flavors:
  python_function:
    loader_module: {EVIL}
    code: code
    data: .
"""


def test_what_an_mlmodel_tells_to_import_is_not_imported(
    tmp_path: Path, make_bundle: BundleMaker
) -> None:
    bundle = make_bundle(tmp_path / "bundles")
    (bundle.folder / MANIFEST).unlink()
    (bundle.folder / "MLmodel").write_text(MLMODEL)
    (bundle.folder / "code").mkdir()
    done = tmp_path / "done"
    program = f"import pathlib\npathlib.Path({json.dumps(str(done))}).touch()\n"
    (bundle.folder / "code" / f"{EVIL}.py").write_text(program)
    write_json(bundle.folder / "requirements.json", {"trusted_types": [EVIL]})
    digest = seal(bundle.folder, model="tiny", task="binary", framework="sklearn").digest
    place = bundle.folder.rename(bundle.folder.with_name(digest))
    ServedHere(tmp_path / "served", tmp_path / "bundles").check("tiny", str(place), digest)
    assert not done.exists()
    assert EVIL not in sys.modules


def test_nothing_loads_a_model_by_its_mlmodel() -> None:
    """MLflow would import what the file says: none of its ways to load a model is used."""
    texts = {file: file.read_text() for file in SOURCES.rglob("*.py")}
    for file in (file for file, text in texts.items() if "mlflow" in text or "pyfunc" in text):
        for node in ast.walk(ast.parse(texts[file])):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                loads = called.endswith((".load_model", "load_pyfunc", "load_context"))
                mlflows = called.startswith("mlflow.") or "pyfunc" in called
                assert not (loads and mlflows), f"{file}:{node.lineno}"
