"""Fits one Keras model in several processes on this machine, and brings the weights back."""

import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferryman.errors import DataRejected, DependencyUnavailable, SpecError
from ferryman.runtime.files import SCRATCH, read_json, write_atomic
from ferryman.spec.model import DeclaredModel
from ferryman.training.keras_worker import FAILURE, HISTORY, JOB, ROWS, WEIGHTS, Job
from ferryman.training.trainer import FitPlan

logger = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_POLL_SECONDS = 0.05
_GRACE_SECONDS = 2.0
_TOLD = 2000  # bytes of a dead worker's last words


def fit_together(  # noqa: PLR0913  - the model, what it is fitted on, and how
    model: Any,
    values: npt.NDArray[np.float32],
    targets: npt.NDArray[Any],
    declared: DeclaredModel,
    plan: FitPlan,
    *,
    epochs: int,
    batch_size: int,
    cores: int,
) -> list[dict[str, float]]:
    """Fit in train.workers processes and set the model's weights; the loss of each epoch.

    `batch_size` is that of all workers together, so that their number changes the speed and not
    the training; weights are those of one process but for the order of the rows and of sums.
    Raises SpecError (exit 2) for a mistake in the user's file, and DependencyUnavailable (exit 6)
    where a worker died: the others are ended, and nothing of the model is changed.
    """
    workers = declared.spec.train.workers
    if min(len(values), batch_size) < workers:
        raise DataRejected(
            f"{workers} workers cannot share {len(values)} rows in batches of {batch_size}",
            remedy="Lower train.workers, or raise batch_size.",
        )
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch, ExitStack() as running:
        folder = Path(scratch)
        job = Job(
            declared=declared,
            pipeline=plan.pipeline,
            params=dict(plan.params),
            seed=plan.seed,
            epochs=epochs,
            batch_size=batch_size,
            addresses=_free_addresses(workers),
            cores=max(1, cores // workers),
        )
        write_atomic(folder / JOB, job.model_dump_json().encode(), mode=0o600)
        np.savez(folder / ROWS, values=values, targets=targets)
        processes = [running.enter_context(_worker(folder, place)) for place in range(workers)]
        _await_all(processes, folder)
        with np.load(folder / WEIGHTS, allow_pickle=False) as arrays:
            model.set_weights([arrays[f"w{number}"] for number in range(len(arrays.files))])
        return [{"loss": float(loss)} for loss in read_json(folder / HISTORY)]


@contextmanager
def _worker(folder: Path, place: int) -> Iterator["subprocess.Popen[bytes]"]:
    """A running worker, which does not outlive the block, nor this process."""
    arguments = [str(folder), str(place), str(os.getpid())]
    with _log(folder, place).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ferryman.training.keras_worker", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _await_all(processes: list["subprocess.Popen[bytes]"], folder: Path) -> None:
    """Return when all ended well; raise when the first did not."""
    while None in (codes := [process.poll() for process in processes]):
        if any(codes):
            _let_the_cause_show(processes, folder)
            break
        time.sleep(_POLL_SECONDS)
    failed = [place for place, process in enumerate(processes) if process.returncode]
    if not failed:
        return
    if (folder / FAILURE).is_file():
        told = read_json(folder / FAILURE)
        raise SpecError(told["text"], remedy=told["remedy"])
    # One that was killed makes the others fail: it is the cause.
    first = min(failed, key=lambda place: processes[place].returncode)
    code = processes[first].returncode
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    words = _last_words(folder, first)
    raise DependencyUnavailable(
        f"worker {first + 1} of {len(processes)} {how}; all were ended: {words}",
        remedy="Run again; if it was killed for its memory, lower train.workers or the batch size.",
    )


def _let_the_cause_show(processes: list["subprocess.Popen[bytes]"], folder: Path) -> None:
    """Give the other workers a moment: the first one seen may be the last one that failed."""
    deadline = time.monotonic() + _GRACE_SECONDS
    while time.monotonic() < deadline and not (folder / FAILURE).is_file():
        if None not in [process.poll() for process in processes]:
            return
        time.sleep(_POLL_SECONDS)


def _last_words(folder: Path, place: int) -> str:
    text = _log(folder, place).read_bytes()[-_TOLD:].decode(errors="replace")
    logger.warning("the end of worker %d's log:\n%s", place + 1, text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def _log(folder: Path, place: int) -> Path:
    return folder / f"worker-{place}.log"


def _free_addresses(count: int) -> list[str]:
    """Addresses on this machine that nobody listens at; all held at once, so they differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((_HOST, 0))
        return [f"{_HOST}:{one.getsockname()[1]}" for one in sockets]
