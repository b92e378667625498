"""An installation that was moved says what it lacks, and serves again when it has it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from release_world import Release, candidate, copy_world

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.errors import SpecError
from ferryman.settings import Settings
from ferryman.steps.reconcile import reconcile_all


def test_a_home_that_was_moved_serves_again_with_a_link_at_its_old_place(
    template: Settings, tmp_path: Path, free_ports: Callable[[int], list[int]], make_bundle: Any
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    settings = copy_world(template, old, free_ports(2))
    deployer = ProcessDeployer(settings)
    deployer.start()
    try:
        Release(settings, "second", candidate(settings, 2, make_bundle)).run_all()
    finally:
        deployer.stop()
    shutil.rmtree(settings.serving_root)
    old.rename(new)
    moved = Settings(
        home=new,
        zoo=settings.zoo,
        serving_port=settings.serving_port,
        serving_admin_port=settings.serving_admin_port,
    )
    deployer = ProcessDeployer(moved)
    deployer.start()
    try:
        with pytest.raises(SpecError) as refused:
            reconcile_all(moved)
        assert f"leave a link there (ln -s {new} {old})" in refused.value.text
        old.symlink_to(new)
        found = reconcile_all(moved)["tiny"]
        assert (found["epoch"], found["version"]) == (2, 2)
        url = f"{moved.serving_url}/v2/health/ready"
        assert httpx.get(url, trust_env=False).status_code == 200
    finally:
        deployer.stop()
