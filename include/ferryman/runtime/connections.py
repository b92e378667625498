"""The port to connections: a declaration names one, the installation says where it leads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, quote_plus

from ferryman.errors import SpecError


@dataclass(frozen=True)
class Connection:
    """Where something outside is, and with what to enter.

    `url` holds no secret: `sqlite:////data/fleet.db`, `postgresql+psycopg://db.example/fleet`,
    `https://api.example/v2`, `s3://bucket/prefix`, `file:///mnt/delivery`. `login` and `password`
    (an access key and its secret, a user, a bearer token) never show in a repr. `options` are plain
    settings of the kind, such as `endpoint` and `region` of a bucket.
    """

    name: str
    url: str
    login: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def scheme(self) -> str:
        """What stands before `://`, without a driver: `postgresql`, `s3`."""
        return self.url.partition("://")[0].partition("+")[0].lower()

    def hide_secrets(self, text: object, limit: int = 200) -> str:
        """What something outside said, on one line of bounded length, without login's secret.

        A driver's or server's own words may repeat what they were given, as it is or encoded.
        """
        shown = " ".join(str(text).split())
        if self.password:
            for form in {self.password, quote(self.password, safe=""), quote_plus(self.password)}:
                shown = shown.replace(form, "***")
        return shown if len(shown) <= limit else shown[:limit] + "..."


class Connections(Protocol):
    """Finds a connection by its name."""

    def get(self, name: str) -> Connection:
        """The connection; SpecError (exit 2) names how to define it where there is none."""
        ...


class GivenConnections:
    """Connections that are handed over in memory: for tests and notebooks."""

    def __init__(self, *connections: Connection) -> None:
        self._by_name = {connection.name: connection for connection in connections}

    def get(self, name: str) -> Connection:
        """See Connections.get."""
        try:
            return self._by_name[name]
        except KeyError:
            raise SpecError(
                f"no connection {name[:100]!r} is defined",
                remedy=f"Given: {', '.join(sorted(self._by_name)) or 'none'}.",
            ) from None
