"""Runs lanes of tasks side by side, each lane in a process of its own, its tasks one by one.

Not a pool: when the process that started it is killed, a lane must notice and end by itself.
"""

import multiprocessing
import os
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event

from ferryman.errors import DependencyUnavailable, FerrymanError

_POLL_SECONDS = 0.5

KeepGoing = Callable[[], bool]


@dataclass(frozen=True)
class Task:
    """A function of a module, by reference, and its arguments; it is also given `keep_going`.

    `keep_going` turns false when another lane failed, or when nobody waits for the result any more:
    a long task then ends at the next point where it can be continued from.
    """

    run: Callable[..., None]
    arguments: tuple[object, ...]


def run_lanes(lanes: Sequence[Sequence[Task]], tick: Callable[[int], None]) -> None:
    """Run all lanes to their ends; `tick` is called twice a second with the tasks done so far.

    The first failure stops the other lanes and is raised: a FerrymanError as it is, anything else
    as a RuntimeError that holds its traceback.
    """
    # Spawned, not forked: numeric libraries with threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    open_ends: dict[Connection, BaseProcess] = {}
    for tasks in (lane for lane in lanes if lane):
        ours, theirs = context.Pipe(duplex=False)
        process: BaseProcess = context.Process(
            target=_run_lane, args=(list(tasks), theirs, stop, os.getpid())
        )
        process.start()
        theirs.close()
        open_ends[ours] = process
    processes = list(open_ends.values())
    try:
        _follow(open_ends, tick)
    finally:
        stop.set()
        for process in processes:
            process.join()


def _follow(open_ends: dict[Connection, BaseProcess], tick: Callable[[int], None]) -> None:
    done = 0
    while open_ends:
        for end in wait(list(open_ends), timeout=_POLL_SECONDS):
            assert isinstance(end, Connection)  # noqa: S101 - only connections were given
            try:
                message = end.recv()
            except EOFError:
                process = open_ends.pop(end)
                process.join()
                if process.exitcode:
                    raise DependencyUnavailable(
                        f"a replay process ended with code {process.exitcode}",
                        remedy="Run the replay again: it continues.",
                    ) from None
                continue
            if isinstance(message, BaseException):
                raise message
            done += 1
        tick(done)


def _run_lane(tasks: Sequence[Task], end: Connection, stop: Event, parent: int) -> None:
    """The life of a lane's process: one message a finished task, or the error that ended it."""

    def keep_going() -> bool:
        return not stop.is_set() and os.getppid() == parent

    # The other end is gone when the parent was killed: then there is nobody to tell.
    with suppress(BrokenPipeError, KeyboardInterrupt):
        try:
            for task in tasks:
                if not keep_going():
                    return
                task.run(*task.arguments, keep_going)
                end.send(None)
        except FerrymanError as error:
            end.send(error)
        except Exception:  # noqa: BLE001 - raised again in the parent, with this traceback
            end.send(RuntimeError(traceback.format_exc()))
