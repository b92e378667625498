"""A real PostgreSQL on this machine, from Debian's package, in a folder of the test's own.

It refuses to run as root, so it is started as another user there. Nothing of it outlives the test.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy

from ferryman.runtime.connection_url import parse_connection
from ferryman.runtime.connections import Connection

MISSING = "PostgreSQL is not installed: apt install postgresql"
_USERS = ("postgres", "nobody")


@dataclass
class PostgresServer:
    """A running server with one database, `fleet`, and one login."""

    port: int
    login: str
    password: str
    process: subprocess.Popen[bytes]

    def connection(self, name: str = "fleet", **changes: str) -> Connection:
        """How sources reach it; another login, password or database by keyword."""
        given = {"login": self.login, "password": self.password, "database": "fleet", **changes}
        return parse_connection(
            name,
            f"postgresql://{quote(given['login'])}:{quote(given['password'], safe='')}"
            f"@127.0.0.1:{self.port}/{given['database']}",
        )

    def run(self, *statements: str, **values: Any) -> None:
        """Execute statements as the owner of the database."""
        with self.engine().begin() as opened:
            for statement in statements:
                opened.execute(sqlalchemy.text(statement), values)

    def engine(self) -> sqlalchemy.Engine:
        """A new engine for the owner, without a pool."""
        url = sqlalchemy.URL.create(
            "postgresql+psycopg", self.login, self.password, "127.0.0.1", self.port, "fleet"
        )
        return sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The server and every process of it stopped in mid-air, as a machine that hangs."""
        stopped = [self.process.pid, *_children(self.process.pid)]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in reversed(stopped):
                os.kill(pid, signal.SIGCONT)


def find_programs() -> Path | None:
    """The folder of initdb and postgres; None where they are not installed."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve()] if on_path else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    return next((file.parent for file in found if (file.parent / "postgres").exists()), None)


@contextmanager
def postgres_server(folder: Path) -> Iterator[PostgresServer]:
    """Start a server below a folder that only it may read, and end it."""
    programs = find_programs()
    if programs is None:
        raise FileNotFoundError(MISSING)
    owner = _owner()
    password = f"p@ss:w/rd%{secrets.token_hex(6)}"  # every character that a URL trips over
    data, secret = folder / "data", folder / "password"
    secret.write_text(password)
    for path in (folder, secret):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    port = _free_port()
    _run(
        [
            *[str(programs / "initdb"), "-D", str(data), "-U", "fleet_owner", "-E", "UTF8"],
            *["--auth=scram-sha-256", "--locale=C.UTF-8", f"--pwfile={secret}", "--no-sync"],
        ],
        owner,
    )
    log = (folder / "server.log").open("wb")
    options = {
        "port": str(port),
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": str(folder),
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "off",
        "max_connections": "40",
    }
    command = [str(programs / "postgres"), "-D", str(data)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **_as(owner))
    server = PostgresServer(port, "fleet_owner", password, process)
    try:
        _await_answer(server)
        _create(server)
        yield server
    finally:
        process.send_signal(signal.SIGINT)  # its "fast" end: open sessions are cut
        process.wait(timeout=30)
        log.close()


def _owner() -> pwd.struct_passwd:
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid())
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next(names[name] for name in _USERS if name in names)


def _as(owner: pwd.struct_passwd) -> dict[str, Any]:
    if os.getuid() != 0:
        return {}
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def _run(command: list[str], owner: pwd.struct_passwd) -> None:
    done = subprocess.run(
        command, check=False, capture_output=True, cwd="/", timeout=60, **_as(owner)
    )
    assert done.returncode == 0, done.stderr.decode()


def _await_answer(server: PostgresServer) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert server.process.poll() is None, "PostgreSQL ended at its start"
        assert time.monotonic() < deadline, "PostgreSQL does not answer"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", server.port)) == 0 and _accepts(server):
                return
        time.sleep(0.02)


def _accepts(server: PostgresServer) -> bool:
    try:
        with _administration(server).connect():
            return True
    except sqlalchemy.exc.OperationalError:  # it is still starting up
        return False


def _create(server: PostgresServer) -> None:
    with _administration(server).connect() as opened:
        opened.execute(sqlalchemy.text("CREATE DATABASE fleet"))


def _administration(server: PostgresServer) -> sqlalchemy.Engine:
    url = server.engine().url.set(database="postgres")
    return sqlalchemy.create_engine(
        url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed]
