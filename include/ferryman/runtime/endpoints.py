"""Where a server is reached, and where it keeps its state."""

from dataclasses import dataclass
from pathlib import Path

from ferryman.runtime.label_token import TOKEN_FILE
from ferryman.settings import Settings
from ferryman.spec.servers import ServerSpec, find_server
from ferryman.spec.serving import MAIN


@dataclass(frozen=True)
class Endpoint:
    """One server's addresses. `root` holds its pointers, token, verified copies, log of output."""

    server: str
    host: str
    port: int
    admin_port: int
    root: Path

    @property
    def url(self) -> str:
        """The address that clients of the served models use."""
        return f"http://{self.host}:{self.port}"

    @property
    def admin_url(self) -> str:
        """The address of the administration; it needs the token of `token_file`."""
        return f"http://{self.host}:{self.admin_port}"

    @property
    def token_file(self) -> Path:
        """The file, mode 0600, that holds the administration token."""
        return self.root / "admin.token"

    @property
    def label_token_file(self) -> Path:
        """The file, mode 0600, that holds the token of those who post labels."""
        return self.root / TOKEN_FILE


def endpoint_of(settings: Settings, name: str, server: ServerSpec) -> Endpoint:
    """The endpoint of a declared server of this machine."""
    return Endpoint(
        server=name,
        host=server.host or settings.serving_host,
        port=server.port or settings.serving_port,
        admin_port=server.admin_port or settings.serving_admin_port,
        root=settings.server_root(name),
    )


def main_endpoint(settings: Settings) -> Endpoint:
    """The endpoint of the server `main`."""
    return endpoint_of(settings, MAIN, find_server(settings.zoo, MAIN))
