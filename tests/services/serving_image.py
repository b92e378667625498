"""The image of a replica, built from the Dockerfile on this machine's engine.

The base is FERRYMAN_TEST_BASE, or the Dockerfile's own, pulled; where nothing can be pulled, one
that debootstrap makes, with this machine's certificates: its way to packages may need them.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
TAG = "ferryman-serving:test"
_MADE_BASE = "ferryman-test-base:bookworm"
_PACKAGES = "python3,python3-venv,ca-certificates"
_CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")


def build_image(client: Any) -> str:
    """The id of the image of these sources; only what changed is built anew."""
    image, _ = client.images.build(
        path=str(PROJECT),
        tag=TAG,
        buildargs={"BASE": find_base(client), "VERSION": "test"},
        network_mode="host",
        rm=True,
        forcerm=True,
    )
    return str(image.id)


def find_base(client: Any) -> str:
    """An image with python3 and venv."""
    from docker.errors import APIError, ImageNotFound

    if given := os.environ.get("FERRYMAN_TEST_BASE"):
        return given
    published = next(
        line.removeprefix("ARG BASE=").strip()
        for line in (PROJECT / "Dockerfile").read_text().splitlines()
        if line.startswith("ARG BASE=")
    )
    for name in (_MADE_BASE, published):
        try:
            client.images.get(name)
            return name
        except ImageNotFound:
            continue
    try:
        client.images.pull(published)
    except APIError:  # no registry can be reached
        return _make_base(client)
    return published


def _make_base(client: Any) -> str:
    assert shutil.which("debootstrap"), "nothing can be pulled, and debootstrap is not installed"
    with tempfile.TemporaryDirectory(prefix="ferryman-base-") as folder:
        root, archive = Path(folder) / "root", Path(folder) / "base.tar"
        options = ["--variant=minbase", f"--include={_PACKAGES}"]
        subprocess.run(
            ["debootstrap", *options, "bookworm", str(root)], check=True, capture_output=True
        )
        shutil.copyfile(Path("/") / _CERTIFICATES, root / _CERTIFICATES)
        subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
        name, _, tag = _MADE_BASE.partition(":")
        client.api.import_image_from_file(
            str(archive), repository=name, tag=tag, changes=[f"ENV PIP_CERT=/{_CERTIFICATES}"]
        )
    return _MADE_BASE


if __name__ == "__main__":  # says whether this machine can have a base at all
    import docker

    print(find_base(docker.from_env(timeout=600)))  # noqa: T201 - a command's answer
