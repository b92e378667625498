"""A replica's container may do little; what it may is read off its declaration."""

import os
from pathlib import Path

import pytest

from ferryman.deployment.container import config as container_config
from ferryman.deployment.container.config import CONFIG_LABEL, Mount, replica_config
from ferryman.spec.servers import ResourcesSpec

MOUNTS = (Mount(Path("/a"), target=Path("/srv/a")), Mount(Path("/b"), writable=True))


def config_of(**resources: object) -> dict:
    return replica_config(ResourcesSpec(**resources), MOUNTS, {"io.ferryman.server": "main"})


def test_nothing_is_allowed_that_a_replica_does_not_need() -> None:
    config = config_of()
    assert config["network_mode"] == config["ipc_mode"] == "none"
    assert config["privileged"] is False
    assert config["read_only"] is True and config["init"] is True
    assert config["cap_drop"] == ["ALL"] and "cap_add" not in config
    assert config["security_opt"] == ["no-new-privileges:true"]
    assert {"noexec", "nosuid", "nodev"} < set(",".join(config["tmpfs"].values()).split(","))
    assert config["restart_policy"] == {"Name": "on-failure", "MaximumRetryCount": 10}
    assert config["log_config"]["config"]["max-size"] == "10m"
    assert "device_requests" not in config
    seen = [(one["Source"], one["Target"], one["ReadOnly"]) for one in config["mounts"]]
    assert seen == [("/a", "/srv/a", True), ("/b", "/b", False)]


def test_limits_are_those_that_are_declared() -> None:
    config = config_of(cpu=2.5, memory="300Mi", gpu=1)
    assert config["nano_cpus"] == 2_500_000_000
    assert config["mem_limit"] == config["memswap_limit"] == 300 * 2**20
    assert config["environment"]["OMP_NUM_THREADS"] == "2"
    assert config["pids_limit"] == 80
    assert config["device_requests"] == [{"Count": 1, "Capabilities": [["gpu"]]}]


@pytest.mark.parametrize(("deployer", "user"), [(0, "10001:10001"), (1234, "1234:77")])
def test_no_replica_is_root(monkeypatch: pytest.MonkeyPatch, deployer: int, user: str) -> None:
    monkeypatch.setattr(os, "getuid", lambda: deployer)
    monkeypatch.setattr(os, "getgid", lambda: 77)
    assert config_of()["user"] == user


def test_a_changed_declaration_is_told_apart() -> None:
    labels = {config_of(cpu=cpu)["labels"][CONFIG_LABEL] for cpu in (1, 1, 2)}
    assert len(labels) == 2
    assert config_of()["labels"]["io.ferryman.server"] == "main"


def test_the_socket_of_the_engine_is_never_mounted() -> None:
    with pytest.raises(ValueError, match="mounted nowhere"):
        replica_config(ResourcesSpec(), (Mount(Path("/run/docker.sock")),), {})


def test_two_installations_are_two_homes(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    assert container_config.home_digest(link) == container_config.home_digest(tmp_path)
    assert container_config.home_digest(tmp_path / "x") != container_config.home_digest(tmp_path)
