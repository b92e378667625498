"""What is remembered of a process is believed only while it is still that process."""

import json
import os
from pathlib import Path

import psutil
import pytest

from ferryman.deployment.deployer import Deployment
from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, free_ports) -> Settings:
    port, admin_port = free_ports(2)
    return Settings(home=tmp_path, serving_port=port, serving_admin_port=admin_port)


def remember(settings: Settings, **state: object) -> None:
    settings.serving_root.mkdir(parents=True, exist_ok=True)
    (settings.serving_root / "process.json").write_text(json.dumps(state))


def test_nothing_remembered_is_stopped(settings: Settings) -> None:
    assert ProcessDeployer(settings).status() == Deployment("stopped", settings.serving_url)


@pytest.mark.parametrize("state", [{}, {"pid": "x"}, {"pid": -5, "started": 0}])
def test_a_damaged_state_is_stopped(settings: Settings, state: dict[str, object]) -> None:
    remember(settings, **state)
    assert ProcessDeployer(settings).status().state == "stopped"


def test_the_pid_of_another_process_is_not_believed(settings: Settings) -> None:
    remember(settings, pid=os.getpid(), started=1.0, group=1, port=1, admin_port=2)
    deployer = ProcessDeployer(settings)
    assert deployer.status().state == "stopped"
    assert deployer.stop().state == "stopped"  # this very process was not ended


def test_a_process_that_does_not_answer_is_silent(settings: Settings) -> None:
    started = psutil.Process().create_time()
    remember(settings, pid=os.getpid(), started=started, group=1, port=1, admin_port=2)
    found = ProcessDeployer(settings).status()
    assert (found.state, found.process) == ("silent", str(os.getpid()))
    assert "server.log" in str(found) and str(os.getpid()) in str(found)
