"""Where replicas meet their front: a short path, because a socket's name has at most 108 bytes."""

import hashlib
import os
import tempfile
from pathlib import Path

from ferryman.errors import PolicyRefused


def channel_path(root: Path) -> Path:
    """The socket of the server whose state is in `root`, in a folder that only its owner enters."""
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"ferryman-{os.getuid()}" / name / "front"


def shadow_path(channel: Path, model: str) -> Path:
    """The socket on which a model's shadow takes copies of requests, beside its server's channel.

    Of a few letters, however long the model's name is: a channel's own name may be 100 bytes long.
    """
    return channel.with_name(f"s{hashlib.sha256(model.encode()).hexdigest()[:10]}")


def make_channel_folder(channel: Path) -> None:
    """Make the folder of a channel, mode 0700.

    Raises PolicyRefused (exit 9) where somebody else made it, or others may enter it.
    """
    for folder in (channel.parent.parent, channel.parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if folder.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise PolicyRefused(
                f"{folder} is not a private folder of this user",
                remedy="Remove it; it is made anew at the next start.",
            )
