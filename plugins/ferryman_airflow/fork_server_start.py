"""A listener: where the scheduler uses a fork server, it is started at once, not at the first task.

Preloading takes some 15 seconds; they pass while the rest of Airflow starts.
"""

import logging
import multiprocessing
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
        forkserver.ensure_running()
        logger.info("the fork server is starting; it preloads what tasks need")
