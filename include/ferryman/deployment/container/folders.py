"""The folders that replicas in containers share with this machine, and whose they are."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_SECONDS = 0.02
_POLL_END_SECONDS = 5.0


def give_folders(root: Path, owner: tuple[int, int]) -> None:
    """Folders below `root` to whom writes into them; files stay whose they are. As root only."""
    if os.getuid() != 0:
        return
    for folder, _, _ in os.walk(root):
        if os.lstat(folder).st_uid != owner[0]:
            os.chown(folder, *owner, follow_symlinks=False)


@contextmanager
def opened_channel(channel: Path, owner: tuple[int, int]) -> Iterator[None]:
    """Let `owner` enter the channel of a front that starts within the block. As root only.

    A front takes a folder that is its own alone; who runs it as root may give the folder on. It is
    given as soon as the front listens, since a new front waits for replicas of the former one.
    """
    if os.getuid() != 0:
        yield
        return
    if channel.parent.exists():
        channel.unlink(missing_ok=True)
        _give(channel, (0, 0))
    done = threading.Event()
    giver = threading.Thread(target=_give_soon, args=(channel, owner, done), daemon=True)
    giver.start()
    try:
        yield
    finally:
        done.set()
        giver.join(_POLL_END_SECONDS)
    _give(channel, owner)


def close_channel(channel: Path) -> None:
    """Take the folder of a channel away, so that a server of processes may make its own."""
    if os.getuid() == 0:
        shutil.rmtree(channel.parent, ignore_errors=True)


def _give_soon(channel: Path, owner: tuple[int, int], done: threading.Event) -> None:
    while not done.wait(_POLL_SECONDS):
        if channel.exists():
            _give(channel, owner)
            return


def _give(channel: Path, owner: tuple[int, int]) -> None:
    for path in (channel.parent, channel):
        if path.exists():
            os.chown(path, *owner, follow_symlinks=False)
