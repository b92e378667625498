"""What the published Dockerfile makes: a lean image that nobody is root in."""

import json
import subprocess
from pathlib import Path
from typing import Any

from ferryman.deployment.container_config import IMAGE_USER

PYTHON = "/opt/ferryman/bin/python3"
TRAINING = ["sklearn", "mlflow", "airflow", "tensorflow", "pandas", "scipy", "sqlalchemy", "duckdb"]
CLOSED = {
    "network_mode": "none",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "remove": True,
}


def run_python(client: Any, image: str, code: str) -> str:
    arguments = {"entrypoint": [PYTHON, "-c", code], "stderr": False, **CLOSED}
    return str(client.containers.run(image, **arguments).decode())


def test_the_image_holds_what_serving_imports_and_nothing_of_training(
    client: Any, image: str
) -> None:
    code = (
        "import importlib.metadata as m, importlib.util as u, json, pkgutil, ferryman;"
        "import ferryman.serving.__main__, ferryman.serving.onnx_model, pyarrow.parquet, boto3;"
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
