"""A listener: where the scheduler uses a fork server, it is started at once, not at the first task.

The scheduler begins its work when the preloading is over. It would wait at the first run anyhow,
without a heartbeat; on a busy machine so long that it would hold itself for dead.
"""

import logging
import multiprocessing
import time
from multiprocessing import forkserver

from airflow.listeners import hookimpl

logger = logging.getLogger(__name__)


@hookimpl  # type: ignore[untyped-decorator]
def on_starting(component: object) -> None:
    """Start the fork server when a scheduler starts; tasks and other components are left alone."""
    # Only a scheduler is told to use a fork server ([scheduler] mp_start_method), and a task is
    # not a Job. This is called in the Job's constructor, before it knows its kind.
    is_job = type(component).__name__ == "Job"
    if is_job and multiprocessing.get_start_method(allow_none=True) == "forkserver":
        start = time.monotonic()
        forkserver.ensure_running()
        first = multiprocessing.Process(target=_nothing, name="first-fork")
        first.start()
        first.join()
        seconds = time.monotonic() - start
        logger.info("the fork server has preloaded what tasks need: %.1f s", seconds)


def _nothing() -> None:
    """What the first fork does: that it is there says that the preloading is over."""
