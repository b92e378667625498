"""What the published Dockerfile makes: a lean image that nobody is root in."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from ferryman.deployment.container.config import IMAGE_USER
from ferryman.serving.models.served_pointers import Pointer, Pointers, write_pointers

PYTHON = "/opt/ferryman/bin/python3"
TRAINING = ["sklearn", "mlflow", "airflow", "tensorflow", "pandas", "scipy", "sqlalchemy", "duckdb"]
LOG = "/var/lib/predictions"
EVERYWHERE = "0.0.0.0"  # noqa: S104  - of the container: the engine publishes it to this machine
CLOSED = {
    "network_mode": "none",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}


def run_python(client: Any, image: str, code: str, **more: Any) -> str:
    arguments = {"entrypoint": [PYTHON, "-c", code], "stderr": False, "remove": True}
    arguments |= {**CLOSED, **more}
    return str(client.containers.run(image, **arguments).decode())


def test_the_image_holds_what_serving_imports_and_nothing_of_training(
    client: Any, image: str
) -> None:
    code = (
        "import importlib.metadata as m, importlib.util as u, json, pkgutil, ferryman;"
        "import ferryman.serving.__main__, ferryman.serving.models.onnx_model;"
        "import pyarrow.parquet, boto3;"
        f"print(json.dumps([[n for n in {TRAINING} + ['pip', 'setuptools'] if u.find_spec(n)],"
        "[d.name for d in m.distributions()],"
        "[p.name for p in pkgutil.iter_modules(ferryman.__path__)]]))"
    )
    found, packages, rooms = json.loads(run_python(client, image, code))
    assert found == []
    assert len(packages) < 45
    assert sorted(rooms) == ["errors", "runtime", "serving", "settings", "spec"]


def test_nobody_in_the_image_is_root_and_nothing_in_it_can_be_changed(
    client: Any, image: str
) -> None:
    config = client.images.get(image).attrs["Config"]
    assert config["User"] == f"{IMAGE_USER}:{IMAGE_USER}"
    assert config["Entrypoint"][0] == PYTHON  # no shell stands between the engine and the replica
    assert config["Labels"]["org.opencontainers.image.version"] == "test"
    code = (
        "import os, ferryman, pathlib; home = pathlib.Path('/opt/ferryman');"
        "print(os.getuid(), [str(p) for p in home.rglob('*') if not p.is_symlink() "
        "and os.access(p, os.W_OK)])"
    )
    assert run_python(client, image, code).split() == [str(IMAGE_USER), "[]"]


def test_every_module_is_compiled_already(client: Any, image: str) -> None:
    code = (
        "import importlib.util as u, ferryman; from pathlib import Path as P;"
        "files = P(ferryman.__file__).parent.rglob('*.py');"
        "print([str(f) for f in files if not P(u.cache_from_source(f)).exists()])"
    )
    assert run_python(client, image, code).strip() == "[]"


def test_the_runtime_of_models_tells_nobody_of_them(client: Any, image: str) -> None:
    code = (
        "import onnxruntime, time; time.sleep(0.2); from pathlib import Path as P;"
        "print([str(f) for f in P('/home').rglob('*')])"
    )
    arguments = {"tmpfs": {"/home": "mode=1777"}, "environment": {"HOME": "/home"}}
    told = run_python(client, image, code, **arguments)
    assert told.strip() == "[]"  # it keeps what it has still to send in the home folder


def test_the_image_serves_by_itself_from_verified_copies(
    client: Any, image: str, tmp_path: Path, make_bundle, free_ports
) -> None:
    bundle = make_bundle(tmp_path / "models")
    write_pointers(tmp_path, Pointers({"tiny": Pointer(version=3, epoch=3, digest=bundle.digest)}))
    tmp_path.chmod(0o755)
    (port,) = free_ports(1)
    container = client.containers.run(
        image,
        ["standalone", "--root", "/srv", "--predictions", LOG, "--host", EVERYWHERE],
        **{**CLOSED, "network_mode": "bridge"},
        volumes={str(tmp_path): {"bind": "/srv", "mode": "ro"}},
        tmpfs={LOG: "size=16m,mode=1777"},
        ports={"8600/tcp": ("127.0.0.1", port)},
        detach=True,
    )
    try:
        answer = ask(f"http://127.0.0.1:{port}/v1/models/tiny:predict", bundle.rows)
        assert answer.json()["predictions"] == pytest.approx(bundle.outputs, abs=1e-5)
        assert answer.headers["x-model-version"] == "3"
        container.stop(timeout=20)
        assert container.wait(timeout=5)["StatusCode"] == 0
    finally:
        container.remove(force=True)


def ask(url: str, rows: list[dict[str, Any]]) -> httpx.Response:
    """The answer, as soon as somebody listens and has loaded the model."""
    deadline = time.monotonic() + 30
    while True:
        try:
            answer = httpx.post(url, json={"instances": rows}, trust_env=False)
        except httpx.TransportError:
            answer = None
        if answer is not None and answer.status_code == 200:
            return answer
        assert time.monotonic() < deadline, answer and answer.text
        time.sleep(0.05)


def test_the_context_holds_no_more_than_the_dockerfile_copies() -> None:
    project = Path(__file__).parents[2]
    tracked = subprocess.run(
        ["git", "ls-files", "include/ferryman/training", "dags"],
        cwd=project,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    from docker.utils import exclude_paths

    patterns = [
        line for line in (project / ".dockerignore").read_text().splitlines() if line[:1] not in "#"
    ]
    sent = set(exclude_paths(str(project), patterns))
    assert not sent & set(tracked)
    assert {"requirements-serving.txt", "include/ferryman/serving/__main__.py"} <= sent
