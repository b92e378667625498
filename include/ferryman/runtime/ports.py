"""Who holds a port, and which ones are free."""

import socket
from contextlib import ExitStack


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Ports that are free now, all different: each is held until all are known."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((host, 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def holder_of(port: int) -> str:
    """Who listens on a port: " (held by NAME, pid N)", or "" where it cannot be seen."""
    import psutil

    try:
        connections = psutil.net_connections(kind="inet")
    except psutil.AccessDenied:
        return ""
    for connection in connections:
        local = connection.laddr
        if local and local.port == port and connection.status == psutil.CONN_LISTEN:
            return _describe(connection.pid)
    return ""


def _describe(pid: int | None) -> str:
    import psutil

    if pid is None:
        return " (held by a process that cannot be seen from here)"
    try:
        return f" (held by {psutil.Process(pid).name()}, pid {pid})"
    except psutil.Error:
        return f" (held by pid {pid})"
