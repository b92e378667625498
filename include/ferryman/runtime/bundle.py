"""A model bundle: the folder that packaging writes, the registry names and serving loads.

manifest.json    files with sha256 and size, the digest of the whole tree, model, task, framework
model.onnx       one named input a feature column; one output, see training.trainer.Predictions
serving.onnx     the same graph for the server: one input a block of columns, see Signature.blocks
model.skops      the fitted scikit-learn pipeline, for offline use; or
model.keras      the fitted Keras model, and
savedmodel/      the same in TensorFlow Serving's layout, <name>/1/
signature.json   Signature: the feature columns in order, the task, its classes, the output's name
golden.json      Golden: a few raw rows and what the trained model answered
parity.json      how far each format's answers are from the trained model's
reference.json   profile of the training data, for drift
MLmodel          with conda.yaml, python_env.yaml, requirements.txt, pyfunc_model.py: for MLflow
model.sig        who vouches for all of these, where a key is configured; see bundle_signing
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ferryman.errors import IntegrityBroken
from ferryman.runtime.files import file_digest, read_json, tree_digest, write_json
from ferryman.spec.metrics import Task

MANIFEST = "manifest.json"
ONNX = "model.onnx"
SERVING_ONNX = "serving.onnx"
SKOPS = "model.skops"
KERAS = "model.keras"
SAVED_MODEL = "savedmodel"
SIGNATURE = "signature.json"
GOLDEN = "golden.json"
REFERENCE = "reference.json"
PARITY = "parity.json"
SEAL = "model.sig"

Scalar = float | int | str | None
# A block of columns is named by what its cells are.
Block = Literal["float32", "float64", "int64", "text"]


class BundlePart(BaseModel):
    """Frozen, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(BundlePart):
    """One file of a bundle."""

    sha256: str
    size: int = Field(ge=0, description="Bytes.")


class Manifest(BundlePart):
    """What a bundle holds; `digest` names it."""

    format: Literal[1] = 1
    model: str
    task: Task
    framework: str
    files: dict[str, FileEntry]
    digest: str


class FeatureColumn(BundlePart):
    """One input of the model: null is NaN inside for numbers, "" for categories."""

    name: str
    type: Literal["integer", "number", "category"]
    nullable: bool = True


class Signature(BundlePart):
    """What a row must hold, and what comes back."""

    features: list[FeatureColumn]
    entity: list[str] = Field(description="Columns that, with the event time, name an event.")
    output: str = Field(description="Name of the label, or of its probability, that is answered.")
    task: Task = "binary"
    classes: list[str] = Field(
        default_factory=list, description="Of a multiclass model, in the order of its answers."
    )
    blocks: dict[Block, list[str]] = Field(
        default_factory=dict,
        description="Inputs of serving.onnx, each [rows, columns], with their columns in order; "
        "empty where a bundle has no such graph.",
    )
    logged: list[str] | None = Field(
        default=None, description="Features that the prediction log keeps; null is all."
    )


class Golden(BundlePart):
    """Raw rows and what the trained model answered, to be replayed before serving."""

    rows: list[dict[str, Scalar]]
    outputs: list[float] | list[list[float]] = Field(
        description="One number a row; of a multiclass model one a class, in their order."
    )
    tolerance: float = 1e-5


def seal(folder: Path, *, model: str, task: Task, framework: str) -> Manifest:
    """Write the manifest of a finished bundle folder and return it."""
    files = {
        file.relative_to(folder).as_posix(): FileEntry(
            sha256=file_digest(file), size=file.stat().st_size
        )
        for file in _sealed(folder)
    }
    digest = tree_digest({name: entry.sha256 for name, entry in files.items()})
    manifest = Manifest(model=model, task=task, framework=framework, files=files, digest=digest)
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))
    return manifest


def verify(folder: Path, *, digest: str | None = None) -> Manifest:
    """Check every byte of a bundle against its manifest, and the manifest against `digest`.

    Raises IntegrityBroken (exit 7) that names the file, the expected and the found sha256.
    """
    manifest = read_manifest(folder)
    found = {file.relative_to(folder).as_posix() for file in _sealed(folder)}
    if found != set(manifest.files):
        different = ", ".join(sorted(found ^ set(manifest.files))[:5])
        raise IntegrityBroken(f"bundle {folder}: files differ from its manifest: {different}")
    for name, entry in manifest.files.items():
        got = file_digest(folder / name)
        if got != entry.sha256:
            raise IntegrityBroken(
                f"digest mismatch: {folder / name}: expected {entry.sha256}, got {got}"
            )
    whole = tree_digest({name: entry.sha256 for name, entry in manifest.files.items()})
    for expected in (manifest.digest, digest or manifest.digest):
        if whole != expected:
            raise IntegrityBroken(f"digest mismatch: {folder}: expected {expected}, got {whole}")
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle; IntegrityBroken (exit 7) when there is none or it is damaged."""
    try:
        return Manifest.model_validate(read_json(folder / MANIFEST))
    except (OSError, ValueError, ValidationError) as error:
        raise IntegrityBroken(f"bundle {folder}: no readable {MANIFEST}: {error}") from error


def _sealed(folder: Path) -> list[Path]:
    """Every file that the manifest names, in order: all but itself and who signed it."""
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.relative_to(folder).as_posix() not in (MANIFEST, SEAL)
    ]
