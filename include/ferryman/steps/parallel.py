"""Runs the workers of a search side by side, with no Airflow: this process is one of them."""

import logging
import multiprocessing
import sys

from ferryman.errors import FerrymanError, exit_code_of
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.steps.contract import run_step

logger = logging.getLogger(__name__)


def run_workers(request: StepRequest, model: DeclaredModel, settings: Settings) -> StepResult:
    """Run `tune` as the declared workers, as many as there are cores, until the search is over.

    Gives the result of worker 0. One that ends badly is told of, and judged by `train`.
    """
    declared = model.spec.search.workers if model.spec.search else 1
    workers = max(1, min(declared, settings.core_count))
    # A fork would share locks and threads of libraries that are loaded already.
    context = multiprocessing.get_context("spawn")
    others = [
        context.Process(target=_work, args=(_request_of(request, worker), model, settings))
        for worker in range(1, workers)
    ]
    for process in others:
        process.start()
    try:
        return run_step(_request_of(request, 0), model, settings)
    finally:
        for worker, process in enumerate(others, start=1):
            process.join()
            if process.exitcode:
                logger.warning("worker %d ended with exit %d", worker, process.exitcode)


def _request_of(request: StepRequest, worker: int) -> StepRequest:
    return request.model_copy(update={"params": {**request.params, "worker": worker}})


def _work(request: StepRequest, model: DeclaredModel, settings: Settings) -> None:
    try:
        run_step(request, model, settings)
    except FerrymanError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(int(exit_code_of(error)))
