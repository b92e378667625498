"""A process that must not outlive the one that started it, however that one goes."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def end_with_parent(parent: int) -> None:
    """Have this process killed as soon as `parent`, a process id, is gone; at once where it is.

    Linux sees to it, also where this process is stopped or hangs. It follows the thread that
    started this process: start it from one that lives as long as its process.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Asked after: a parent that went before the kernel was told would never be noticed.
    if os.getppid() != parent:
        os._exit(1)
