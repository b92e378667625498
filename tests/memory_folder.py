"""A place for small files of tests that write them thousands of times: no disk is waited for."""

import os
import shutil
from pathlib import Path

_PLACE = Path("/dev/shm")  # noqa: S108 - its folders are made by tempfile
_FREE = 32 * 1024 * 1024


def memory_folder() -> str | None:
    """Where temporary folders are to be made; None (the usual place) where there is no memory."""
    is_there = _PLACE.is_dir() and os.access(_PLACE, os.W_OK)
    return str(_PLACE) if is_there and shutil.disk_usage(_PLACE).free > _FREE else None
