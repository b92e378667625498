"""Where the local stack stands; the only place in this package that reads the environment."""

import os
import sys
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from ferryman.settings import Settings, load_settings

HOST = "127.0.0.1"
TRAINING_POOL = "ferryman_training"


class StackSettings(BaseSettings):
    """Ports and folders of the stack. Every field may be set as FERRYMAN_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="FERRYMAN_", frozen=True, extra="ignore")

    airflow_home: Path | None = Field(default=None, description="Default <root>/.airflow.")
    airflow_port: int = Field(default=8080, ge=1, le=65535)
    mlflow_port: int = Field(default=5000, ge=1, le=65535)
    parallelism: int = Field(default=4, ge=1, description="Tasks that may run at the same time.")
    fork_server: bool = Field(default=True, description="Warm tasks; off is Airflow's default.")
    idle_sleep: float = Field(default=0.1, gt=0, description="Seconds the scheduler rests.")
    model: str = Field(default="flights", description="The model that `up` carries to serving.")
    user: str = "admin"
    further_users: str = Field(
        default="",
        pattern=r"^$|^[A-Za-z0-9_.-]+:(viewer|user|op|admin)"
        r"(,[A-Za-z0-9_.-]+:(viewer|user|op|admin))*$",
        description="More logins of Airflow: olga:user,ivan:viewer; an approver needs user.",
    )

    @property
    def home(self) -> Path:
        """Airflow's home, with the stack's own state."""
        return (self.airflow_home or load_settings().root / ".airflow").resolve()

    @property
    def logs(self) -> Path:
        """One log file for each process."""
        return self.home / "logs" / "stack"

    @property
    def state_file(self) -> Path:
        """Which processes run: pids and start times."""
        return self.home / "stack.json"

    @property
    def lock_file(self) -> Path:
        """Held while a launcher lives."""
        return self.home / "stack.lock"

    @property
    def passwords_file(self) -> Path:
        """The simple auth manager's users; mode 0600."""
        return self.home / "passwords.json"

    @property
    def roles(self) -> dict[str, str]:
        """The role of every user of Airflow, by name."""
        named = [one.partition(":") for one in self.further_users.split(",") if one]
        return {**{name: role for name, _, role in named}, self.user: "admin"}

    @property
    def airflow_url(self) -> str:
        """The address of Airflow's pages and REST API."""
        return f"http://{HOST}:{self.airflow_port}"

    @property
    def mlflow_url(self) -> str:
        """The address of MLflow's pages."""
        return f"http://{HOST}:{self.mlflow_port}"


def child_environment(stack: StackSettings, settings: Settings) -> dict[str, str]:
    """What the stack's processes find in their environment: this one's, and where things are."""
    bin_folder = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": os.pathsep.join((bin_folder, os.environ.get("PATH", os.defpath))),
        "AIRFLOW_HOME": str(stack.home),
        "FERRYMAN_ROOT": str(settings.root),
        "FERRYMAN_HOME": str(settings.home),
        "FERRYMAN_ZOO": str(settings.zoo),
        "FERRYMAN_TRAINING_POOL": settings.training_pool or TRAINING_POOL,
        "FERRYMAN_MLFLOW_UI": settings.mlflow_ui or stack.mlflow_url,
        "FERRYMAN_SERVING_PORT": str(settings.serving_port),
        "FERRYMAN_SERVING_ADMIN_PORT": str(settings.serving_admin_port),
        "PYTHONUNBUFFERED": "1",
        # No library of ours talks to anybody outside.
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "GX_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
