"""Writes the stack's airflow.cfg: everything the stack decides, and secrets made at first start.

With it, `AIRFLOW_HOME=.airflow airflow ...` works by hand as well. Single values can be overridden
by AIRFLOW__SECTION__KEY.
"""

import configparser
import io
import json
import secrets
from base64 import urlsafe_b64encode
from pathlib import Path

from ferryman.runtime.files import read_json, write_atomic, write_json
from ferryman.runtime.lineage_events import events_file
from ferryman.settings import Settings
from ferryman_airflow.stack.settings import HOST, StackSettings

_PRIVATE = 0o600
_NOTE = "# Written by every `make run`; set AIRFLOW__SECTION__KEY to override a value.\n\n"


def write_config(stack: StackSettings, settings: Settings) -> None:
    """Write airflow.cfg and, the first time, secrets and passwords; all with mode 0600."""
    stack.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    known = read_json(stack.passwords_file) if stack.passwords_file.is_file() else {}
    new = {name: secrets.token_urlsafe(12) for name in stack.roles if name not in known}
    if new:
        write_json(stack.passwords_file, {**known, **new}, mode=_PRIVATE)
    parser = configparser.ConfigParser(interpolation=None)
    for section, values in _sections(stack, settings, _secrets(stack.home)).items():
        parser[section] = values
    text = io.StringIO()
    parser.write(text)
    write_atomic(stack.home / "airflow.cfg", (_NOTE + text.getvalue()).encode(), mode=_PRIVATE)


def read_password(stack: StackSettings, user: str = "") -> str:
    """The password of a user; of the stack's own, where none is named."""
    return str(read_json(stack.passwords_file)[user or stack.user])


def _secrets(home: Path) -> dict[str, str]:
    file = home / "secrets.json"
    if not file.is_file():
        made = {
            "fernet_key": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "jwt_secret": secrets.token_urlsafe(48),
            "secret_key": secrets.token_urlsafe(48),
        }
        write_json(file, made, mode=_PRIVATE)
    return {str(key): str(value) for key, value in json.loads(file.read_bytes()).items()}


def _sections(
    stack: StackSettings, settings: Settings, secret: dict[str, str]
) -> dict[str, dict[str, str]]:
    tasks: dict[str, str] = {}
    scheduler: dict[str, str] = {}
    if stack.fork_server:
        # Tasks fork from a process that holds the libraries: facts in docs/decisions.
        tasks["mp_forkserver_preload"] = (
            "airflow,airflow.executors.local_executor,ferryman_airflow.preload"
        )
        scheduler = {
            "mp_start_method": "forkserver",
            "scheduler_idle_sleep_time": str(stack.idle_sleep),
        }
    return {
        "core": {
            "dags_folder": str(settings.root / "dags"),
            "plugins_folder": str(settings.root / "plugins"),
            "load_examples": "False",
            "executor": "LocalExecutor",
            "parallelism": str(stack.parallelism),
            "max_active_tasks_per_dag": str(stack.parallelism),
            "fernet_key": secret["fernet_key"],
            "simple_auth_manager_users": ",".join(
                f"{name}:{role}" for name, role in stack.roles.items()
            ),
            "simple_auth_manager_passwords_file": str(stack.passwords_file),
            "execution_api_server_url": f"{stack.airflow_url}/execution/",
            **tasks,
        },
        "database": {"sql_alchemy_conn": f"sqlite:///{stack.home / 'airflow.db'}"},
        "api": {
            "host": HOST,
            "port": str(stack.airflow_port),
            "base_url": stack.airflow_url,
            "workers": "1",
            "secret_key": secret["secret_key"],
            "expose_config": "False",
        },
        "api_auth": {"jwt_secret": secret["jwt_secret"]},
        "scheduler": {
            # A dead task is noticed within about a minute; under 45 s two attempts may overlap.
            "task_instance_heartbeat_timeout": "60",
            "orphaned_tasks_check_interval": "30",
            "enable_health_check": "False",
            **scheduler,
        },
        # What a killed triggerer watched is watched again before the lease of a share (45 s) ends.
        "triggerer": {"triggerer_health_check_threshold": "15"},
        "workers": {
            # A task that failed or was skipped is sometimes noticed only at its next heartbeat.
            "min_heartbeat_interval": "1",
        },
        "dag_processor": {
            "dag_version_inflation_check_level": "error",
            "parsing_processes": "1",
            "min_file_process_interval": "30",
            "refresh_interval": "30",
        },
        "logging": {
            "base_log_folder": str(stack.home / "logs"),
            "worker_log_server_port": "0",
        },
        "openlineage": lineage_section(settings),
        "usage_data_collection": {"enabled": "False"},
    }


def lineage_section(settings: Settings) -> dict[str, str]:
    """Lineage events, appended to a file; their cost is in docs/decisions/0008."""
    file = events_file(settings.home)
    file.parent.mkdir(parents=True, exist_ok=True)
    transport = {"type": "file", "log_file_path": str(file), "append": True}
    return {
        "namespace": "ferryman",
        "transport": json.dumps(transport),
        # A fork of the task would cost more, and holds the task's connection to its supervisor.
        "execute_in_thread": "True",
        "execution_timeout": "5",
    }
