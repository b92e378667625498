"""The step `package`: compared with what training answered, signed where a key is configured."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from training_line import Line

from ferryman.data.versions.dataset import DatasetStore
from ferryman.errors import IntegrityBroken, PolicyRefused
from ferryman.packaging.trained_answers import ANSWERS, record_answers
from ferryman.registry.mlflow_connection import connect
from ferryman.runtime.bundle import PARITY, SEAL
from ferryman.runtime.bundle_signing import verify_signed
from ferryman.runtime.files import read_json, write_json
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.steps.contract import run_step
from ferryman.training.trainers import load_model_file


def step(line: Line, name: str, run_id: str = "r1", **earlier: StepResult) -> StepResult:
    request = StepRequest(
        model="rain",
        step=name,
        run_id=run_id,
        run_uri=str(line.settings.runs_root / "rain" / "training" / run_id),
        spec_digest=line.model.digest,
        results=earlier,
    )
    return run_step(request, line.model, line.settings)


def keys(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / "house.pem", folder / "house.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture
def answered(line: Line) -> StepResult:
    """A training that has left what the trained model answered beside its file."""
    train = line.run("train")["train"]
    file = Path(str(train.outputs["model_file"]))
    datasets = DatasetStore(LocalObjectStore(line.settings.data_root))
    frame = datasets.load(str(train.outputs["train_dataset"]), "rain")
    model = load_model_file(file, line.model.spec)
    record_answers(model.predict, frame, line.model.spec, file.with_name(ANSWERS))
    return train


def test_differences_are_in_the_bundle_and_in_mlflow(line: Line, answered: StepResult) -> None:
    packed = step(line, "package", train=answered)
    certificate = read_json(Path(str(packed.outputs["bundle"])) / PARITY)
    assert certificate["formats"] == packed.outputs["parity"]
    assert set(certificate["formats"]) == {"onnx", "skops", "serving"}
    assert certificate["formats"]["skops"] == 0
    assert 0 < certificate["formats"]["onnx"] < certificate["tolerance"] == 1e-5
    run = connect(line.settings.mlflow_uri).get_run(str(answered.outputs["mlflow_run_id"]))
    assert run.data.metrics["parity_onnx_difference"] == certificate["formats"]["onnx"]
    assert run.data.metrics["parity_skops_difference"] == 0
    assert "onnx" in packed.text


def test_a_file_that_answers_otherwise_than_the_trained_model_is_no_release(
    line: Line, answered: StepResult
) -> None:
    file = Path(str(answered.outputs["model_file"])).with_name(ANSWERS)
    kept = read_json(file)
    kept["answers"][11] += 0.01
    write_json(file, kept)
    with pytest.raises(IntegrityBroken, match=r"skops and the trained model differ on 1 of .* 11:"):
        step(line, "package", train=answered)
    kept["answers"].pop()
    write_json(file, kept)
    with pytest.raises(IntegrityBroken, match="answers for"):
        step(line, "package", train=answered)
    file.write_text("{")
    with pytest.raises(IntegrityBroken, match="not readable"):
        step(line, "package", train=answered)
    assert not (line.settings.bundles_root / "rain").exists()


def test_a_flipped_byte_of_the_model_file_is_named(line: Line) -> None:
    train = line.run("train")["train"]
    file = Path(str(train.outputs["model_file"]))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(IntegrityBroken, match=r"digest mismatch: .*model\.skops: expected"):
        step(line, "package", train=train)


def test_a_key_signs_and_what_is_unsigned_is_not_registered(line: Line, tmp_path: Path) -> None:
    train = line.run("train")["train"]
    unsigned = step(line, "package", train=train)
    private, public = keys(tmp_path)
    assert unsigned.outputs["signed"] is False
    line.settings = line.settings.model_copy(update={"signing_public_key": public})
    with pytest.raises(PolicyRefused, match="is not signed"):
        step(line, "register", train=train, package=unsigned)
    line.settings = line.settings.model_copy(update={"signing_key": private})
    signed = step(line, "package", run_id="r2", train=train)
    assert signed.outputs["digest"] == unsigned.outputs["digest"]
    folder = Path(str(signed.outputs["bundle"]))
    verify_signed(folder, public_key=public)
    registered = step(line, "register", run_id="r2", train=train, package=signed)
    assert registered.outputs["version"] == 1
    (source,) = line.settings.mlflow_artifacts.rglob(SEAL)
    assert source.read_bytes() == (folder / SEAL).read_bytes()
