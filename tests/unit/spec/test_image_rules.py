"""What containers and pods of a server may be: an image by its digest, and no right beyond."""

from pathlib import Path

import pytest
import yaml

from ferryman.spec.servers import load_servers
from ferryman.spec.yaml_file import DeclarationError

DIGEST = "sha256:" + "0" * 64
PLACES = {"container": {}, "kubernetes": {"bundles": "bundles"}}


def load(folder: Path, place: str, **declared: object) -> object:
    lane: dict[str, object] = {
        "place": place,
        place: {**PLACES[place], "image": DIGEST, **declared},
    }
    if place == "container":
        lane |= {"port": 8700, "admin_port": 8701}
    text = yaml.safe_dump({"spec_version": 1, "servers": {"lane": lane}})
    (folder / "servers.yaml").write_text(text)
    return load_servers(folder)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "image",
    [
        "ferryman-serving",
        "ferryman-serving:latest",
        "ferryman-serving@sha256:0",
        f"{DIGEST}\n",
        DIGEST.upper(),
        f"-v@{DIGEST}",
        f"{{{{ conf.image }}}}@{DIGEST}",
        f"registry.example/x --privileged @{DIGEST}",
    ],
)
def test_an_image_without_its_digest_is_refused(tmp_path: Path, place: str, image: str) -> None:
    with pytest.raises(DeclarationError, match=rf"servers\.lane\.{place}\.image"):
        load(tmp_path, place, image=image)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("key", ["privileged", "user", "volumes", "mounts", "command", "cap_add"])
def test_no_right_can_be_declared(tmp_path: Path, place: str, key: str) -> None:
    with pytest.raises(DeclarationError, match=f"unknown key 'servers.lane.{place}.{key}'"):
        load(tmp_path, place, **{key: True})


@pytest.mark.parametrize("place", PLACES)
def test_a_digest_is_taken(tmp_path: Path, place: str) -> None:
    for image in (DIGEST, f"registry.example:5000/team/ferryman@{DIGEST}"):
        assert load(tmp_path, place, image=image)
