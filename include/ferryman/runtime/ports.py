"""Says who holds a port."""


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
