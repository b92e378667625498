"""A real Redis on this machine, from Debian's package, in a folder of the test's own.

It may be killed and started again, on the same port and with the same files.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis

from ferryman.runtime.connection_url import parse_connection
from ferryman.runtime.connections import Connection

MISSING = "Redis is not installed: apt install redis-server"
PASSWORD = "test-secret-of/redis"
_START_SECONDS = 20.0


def is_installed() -> bool:
    """Whether there is a redis-server to start."""
    return shutil.which("redis-server") is not None


class RedisServer:
    """A server with an append-only file and a password. Use it in a `with` block."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """Its address with the password."""
        return f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/0"

    @property
    def connection(self) -> Connection:
        """How workers reach it."""
        return parse_connection("queue", self.url)

    def client(self) -> Any:
        """A client that gives text."""
        return redis.Redis.from_url(self.url, decode_responses=True)

    def start(self, options: Sequence[str] = ("--appendonly", "yes")) -> None:
        """Start, and wait until it answers and has read its files."""
        self._folder.mkdir(parents=True, exist_ok=True)
        given = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        given += ["--requirepass", PASSWORD, "--save", "", *options]
        with (self._folder / "output.log").open("ab") as log:
            self._process = subprocess.Popen(["redis-server", *given], stdout=log, stderr=log)
        end = time.monotonic() + _START_SECONDS
        client = self.client()
        while True:
            try:
                client.ping()
                client.close()
                return
            except redis.ConnectionError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise
                time.sleep(0.02)

    def kill(self) -> None:
        """As `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
