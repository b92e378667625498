"""Where things are: read once, at the door, from FERRYMAN_* environment variables.

No other module reads the environment.
"""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

# What libraries read when they start their threads, each its own one.
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)
_PROJECT = Path(__file__).resolve().parents[2]


class Settings(BaseSettings):
    """Paths and addresses of one installation. Every field may be set as FERRYMAN_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="FERRYMAN_", frozen=True, extra="ignore")

    root: Path = Field(default=_PROJECT, description="The project's folder.")
    home: Path = Field(default=Path(), description="All state; default <root>/.ferryman.")
    zoo: Path = Field(
        default=Path(), description="Model folders; default <root>/include/model_zoo."
    )
    source_root: Path = Field(
        default=Path(), description="What `files` sources resolve in; default include/sample_data."
    )
    data_root: Path = Field(default=Path(), description="Snapshots, datasets; default <home>/data.")
    data_connection: str = Field(
        default="", description="Connection (s3:// or file://) that takes the place of data_root."
    )
    predictions_connection: str = Field(
        default="",
        description="Connection (s3:// or file://) that the prediction log is brought to; without "
        "one it stays in <home>/predictions.",
    )
    predictions_spool_mb: int = Field(
        default=1024,
        ge=1,
        description="Megabytes of the log that may wait here while that place is away.",
    )
    connections_file: Path = Field(
        default=Path(), description="Connections without secrets; default include/connections.yaml."
    )
    connection_urls: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="Connections by name, each set as FERRYMAN_CONNECTION_<NAME>=URL.",
    )
    ledger_url: str = Field(default="", description="SQLAlchemy URL; default SQLite in <home>.")
    mlflow_uri: str = Field(
        default="", description="MLflow tracking URI; default SQLite in <home>."
    )
    mlflow_ui: str = Field(
        default="", description="Address of MLflow's pages; default mlflow_uri, if it is a server."
    )
    serving_host: str = "127.0.0.1"
    serving_port: int = 8600
    serving_admin_port: int = 8601
    prometheus_url: str = Field(
        default="",
        description="Prometheus of the servers; without it autoscaling reads them itself.",
    )
    prometheus_window: float = Field(
        default=60, gt=0, le=3600, description="Seconds of its rates; at least four scrapes."
    )
    actor: str = Field(default="", description="Who acts, for the ledger; default the login name.")
    code_version: str = Field(default="", description="Commit of this code; default asks git.")
    signing_key: Path | None = Field(
        default=None, description="PEM file of the EC private key that signs bundles."
    )
    signing_public_key: Path | None = Field(
        default=None,
        description="PEM file of the EC public key; where it is set, only signed bundles are used.",
    )
    training_pool: str = Field(
        default="",
        description="Airflow pool that bounds the tasks that fit models; default is Airflow's.",
    )
    cpus: int = Field(default=0, ge=0, description="Cores a step may use; 0 is all of them.")

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, values: dict[str, object]) -> dict[str, object]:
        root = Path(str(values.get("root") or _PROJECT)).resolve()
        home = Path(str(values.get("home") or root / ".ferryman")).resolve()
        defaults: dict[str, object] = {
            "root": root,
            "home": home,
            "zoo": root / "include" / "model_zoo",
            "source_root": root / "include" / "sample_data",
            "data_root": home / "data",
            "connections_file": root / "include" / "connections.yaml",
            "connection_urls": _connection_urls(),
            "ledger_url": f"sqlite:///{home / 'ledger.db'}",
            "mlflow_uri": f"sqlite:///{home / 'mlflow' / 'mlflow.db'}",
            "actor": _login_name(),
        }
        given = {key: value for key, value in values.items() if value not in ("", None)}
        return {**defaults, **given, "root": root, "home": home}

    @property
    def runs_root(self) -> Path:
        """Results of steps, one folder a run."""
        return self.home / "runs"

    @property
    def bundles_root(self) -> Path:
        """Released model bundles by model and digest: the verified local copies."""
        return self.home / "bundles"

    @property
    def predictions_root(self) -> Path:
        """The prediction log, by model and date, or what of it is on its way."""
        return self.home / "predictions"

    @property
    def monitoring_root(self) -> Path:
        """Joined windows, reports and decisions of monitoring, by model."""
        return self.home / "monitoring"

    @property
    def serving_root(self) -> Path:
        """The serving process's own state: pointers, token, pid file, log."""
        return self.home / "serving"

    def server_root(self, server: str) -> Path:
        """The state of a server by name; that of `main` is `serving_root`."""
        return self.serving_root if server == "main" else self.home / "servers" / server

    @property
    def mlflow_artifacts(self) -> Path:
        """Where a local MLflow keeps its artifacts."""
        return self.home / "mlflow" / "artifacts"

    def mlflow_page(self, run: str) -> str:
        """The address of a tracked run's page; empty where no MLflow shows pages."""
        server = self.mlflow_uri if self.mlflow_uri.startswith(("http://", "https://")) else ""
        scheme, separator, rest = (self.mlflow_ui or server).rstrip("/").partition("://")
        # A password in the address is for the tracker, not for a page.
        return f"{scheme}{separator}{rest.rpartition('@')[2]}/#/runs/{run}" if rest else ""

    @property
    def serving_url(self) -> str:
        """The address that clients of the served models use."""
        return f"http://{self.serving_host}:{self.serving_port}"

    @property
    def core_count(self) -> int:
        """Cores that a step may use."""
        return self.cpus or os.cpu_count() or 1


def quiet_tensorflow() -> None:
    """Keep TensorFlow's C++ code from printing notes; an environment that says otherwise stays."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextmanager
def thread_environment(cores: int) -> Iterator[None]:
    """Within the block, libraries that are loaded and processes that are started use so many cores.

    OMP_NUM_THREADS and its kin count when a library is loaded; what is loaded already is limited by
    training.core_limit. An environment that allows fewer stays.
    """
    before = {name: os.environ.get(name) for name in _THREADS}
    for name, value in before.items():
        fewer = value is not None and value.isdecimal() and 0 < int(value) <= cores
        os.environ[name] = str(value) if fewer else str(max(1, cores))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _connection_urls() -> dict[str, str]:
    prefix = "FERRYMAN_CONNECTION_"
    found = {key: value for key, value in os.environ.items() if key.startswith(prefix)}
    return {key.removeprefix(prefix).lower(): value for key, value in found.items()}


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return f"uid {os.getuid()}"


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """Read the environment once; later calls return the same object."""
    return Settings()
