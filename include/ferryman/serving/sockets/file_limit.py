"""Connections are open files: a server may have as many as the system lets it."""

import contextlib
import resource

_ENOUGH = 65_536


def raise_file_limit() -> None:
    """Raise this process's limit of open files to what the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
