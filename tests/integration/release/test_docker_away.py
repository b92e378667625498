"""A model that is served by containers, and no engine to start them: nothing else happens."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from release_world import Release, Users, candidate, copy_world
from rollback_world import World

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.errors import DependencyUnavailable
from ferryman.settings import Settings

IMAGE = "sha256:" + "0" * 64


def test_a_release_to_containers_without_docker(
    template: Settings,
    tmp_path: Path,
    free_ports: Callable[[int], list[int]],
    make_bundle: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ports = free_ports(4)
    declared = "serving: {server: lane}\n"
    settings = copy_world(template, tmp_path / "home", ports[:2], declared)
    lane = {"place": "container", "container": {"image": IMAGE}, "port": ports[2]}
    servers = {"spec_version": 1, "servers": {"lane": {**lane, "admin_port": ports[3]}}}
    (settings.zoo / "servers.yaml").write_text(json.dumps(servers))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'docker.sock'}")
    world, main = World(settings, make_bundle), ProcessDeployer(settings)
    main.start()
    try:
        before, began = world.state(), time.monotonic()
        rows = make_bundle(settings.bundles_root, 0.1).rows
        with (
            Users(settings, rows, pause=0.1) as users,
            pytest.raises(DependencyUnavailable) as told,
        ):
            Release(settings, "r", candidate(settings, 2, make_bundle)).run_all()
        assert time.monotonic() - began < 30
        assert f"docker daemon not reachable at unix://{tmp_path}" in told.value.text
        assert told.value.exit_code == 6
        assert world.state() == before == (1, 1, 1, 1, 1)
        assert (users.failed, users.versions.keys()) == (0, {"1"})
    finally:
        main.stop()
