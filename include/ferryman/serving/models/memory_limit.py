"""The memory of a candidate that has a process of its own: so much, and no more.

The kernel refuses what is asked for far above the limit in one piece; what grows beyond it piece by
piece is seen, and ended, by the front that started the process.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

from ferryman.errors import IntegrityBroken

MIB = 2**20
# What is reserved and never used: stacks of threads, what allocators keep ahead.
_SLACK = 256 * MIB
_LONGEST = 200  # characters of what a library says
# What libraries say when memory is refused to them.
_REFUSED = ("failed to allocate", "bad_alloc", "bad allocation")


@contextmanager
def limited_memory(name: str, memory: int) -> Iterator[None]:
    """Load a candidate of model `name` with at most `memory` bytes (0: no limit).

    The limit is this process's from then on. IntegrityBroken (exit 7) that names it where what is
    done in the block fails because more was asked for.
    """
    if memory:
        # Data, not address space: onnxruntime maps far more than it ever touches.
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        soft = memory + _SLACK
        if hard == resource.RLIM_INFINITY or soft < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    try:
        yield
    except Exception as error:  # onnxruntime's errors share no narrower base
        refused = _refused_memory(error) if memory else ""
        if not refused:
            raise
        raise too_much_memory(name, memory, refused) from error


def too_much_memory(name: str, memory: int, used: str) -> IntegrityBroken:
    """What is said of a candidate that needs more than it may have; `used` says how that showed."""
    return IntegrityBroken(
        f"the candidate of {name} needs more than the {memory / MIB:.0f} MiB of memory that a "
        f"replica may use (resources.memory): {used}",
        remedy="Make the model smaller, or declare more memory for the server.",
    )


def _refused_memory(error: BaseException) -> str:
    """What was said where memory was refused, of an error or what caused it; empty elsewhere."""
    seen: BaseException | None = error
    while seen is not None:
        text = " ".join(str(seen).split())
        places = [text.lower().find(word) for word in _REFUSED]
        if isinstance(seen, MemoryError) or max(places) >= 0:
            return text[max(*places, 0) :][:_LONGEST] or "an allocation failed"
        seen = seen.__cause__
    return ""
