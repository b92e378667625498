"""The stack's configuration: secrets once and private, Airflow reads what was meant."""

import configparser
import os
import subprocess
import sys

import pytest
from pydantic import ValidationError

from ferryman.settings import Settings
from ferryman_airflow.stack.airflow_config import read_password, write_config
from ferryman_airflow.stack.settings import StackSettings


def _config(home):
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(home / "airflow.cfg")
    return parser


def test_secrets_are_made_once_and_are_private(tmp_path):
    stack, settings = StackSettings(airflow_home=tmp_path / "a"), Settings(home=tmp_path / "f")
    write_config(stack, settings)
    password, first = read_password(stack), _config(stack.home)
    write_config(stack, settings)
    assert read_password(stack) == password
    assert _config(stack.home) == first
    for file in stack.home.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    other = StackSettings(airflow_home=tmp_path / "b")
    write_config(other, settings)
    assert read_password(other) != password
    assert _config(other.home)["core"]["fernet_key"] != first["core"]["fernet_key"]


def test_further_users_get_passwords_of_their_own_and_nobody_loses_one(tmp_path):
    settings = Settings(home=tmp_path / "f")
    stack = StackSettings(airflow_home=tmp_path / "a")
    write_config(stack, settings)
    password = read_password(stack)
    more = StackSettings(airflow_home=tmp_path / "a", further_users="olga:user,ivan:viewer")
    write_config(more, settings)
    assert read_password(more) == password
    assert len({read_password(more, name) for name in ("admin", "olga", "ivan")}) == 3
    named = _config(more.home)["core"]["simple_auth_manager_users"]
    assert named == "olga:user,ivan:viewer,admin:admin"
    for wrong in ("olga", "olga:king", "olga:op,", "a b:op", "olga:op\n"):
        with pytest.raises(ValidationError):
            StackSettings(further_users=wrong)


def test_airflow_reads_the_file_as_it_is_meant(tmp_path):
    stack = StackSettings(airflow_home=tmp_path / "a", airflow_port=18999)
    write_config(stack, Settings(home=tmp_path / "f"))
    program = (
        "from airflow.configuration import conf\n"
        "print(conf.get('scheduler', 'mp_start_method'))\n"
        "print(conf.get('core', 'mp_forkserver_preload').rpartition(',')[2])\n"
        "print(conf.getint('api', 'port'), conf.get('api', 'host'))\n"
        "print(conf.getint('scheduler', 'task_instance_heartbeat_timeout'))\n"
        "print(conf.getboolean('core', 'load_examples'))\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW__")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "AIRFLOW_HOME": str(stack.home)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split("\n")[-6:-1] == [
        "forkserver",
        "ferryman_airflow.preload",
        "18999 127.0.0.1",
        "60",
        "False",
    ]


def test_without_the_fork_server_airflows_defaults_stand(tmp_path):
    stack = StackSettings(airflow_home=tmp_path, fork_server=False)
    write_config(stack, Settings(home=tmp_path / "f"))
    parser = _config(tmp_path)
    assert "mp_start_method" not in parser["scheduler"]
    assert "scheduler_idle_sleep_time" not in parser["scheduler"]
