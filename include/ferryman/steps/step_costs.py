"""What each try of a step cost, kept in the ledger's side table; of a failed one, too."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ferryman.errors import FerrymanError
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.run_store import step_folder
from ferryman.runtime.timings import Stopwatch
from ferryman.settings import Settings

_REGISTER = "register"

logger = logging.getLogger(__name__)


@dataclass
class Costing:
    """What is known of a step once it has ended."""

    result: StepResult | None = None


@contextmanager
def cost_kept(request: StepRequest, settings: Settings) -> Iterator[Costing]:
    """Keep what the block costs, however it ends; who kills the process, kills the row with it.

    A ledger that is away fails no step: the cost is said in the log, and lost.
    """
    watch, costing, outcome = Stopwatch(), Costing(), "done"
    try:
        yield costing
    except FerrymanError as error:
        outcome = f"exit {int(error.exit_code)}"
        raise
    except BaseException as error:
        outcome = type(error).__name__
        raise
    finally:
        _keep(request, settings, watch, outcome, costing.result)


def _keep(
    request: StepRequest,
    settings: Settings,
    watch: Stopwatch,
    outcome: str,
    result: StepResult | None,
) -> None:
    from ferryman.ledger.costs import CostTable, StepCost

    spent, run = watch.read(), Path(request.run_uri)
    try:
        CostTable(settings.ledger_url).add(
            StepCost(
                model=request.model,
                run_id=request.run_id,
                pipeline=run.parent.name,
                step=step_folder(request).relative_to(run).as_posix(),
                outcome=outcome,
                started=spent.started,
                seconds=spent.seconds,
                cpu_seconds=spent.cpu_seconds,
                peak_memory=spent.peak_memory,
                version=_version(request, result),
            )
        )
    except Exception as error:  # noqa: BLE001 - a cost that is not kept fails no step
        logger.warning(
            "%s %s: its cost of %.1f CPU seconds is not kept: %s",
            request.model,
            request.step,
            spent.cpu_seconds,
            error,
        )


def _version(request: StepRequest, result: StepResult | None) -> int | None:
    registered = result if request.step == _REGISTER else request.results.get(_REGISTER)
    version = registered.outputs.get("version") if registered is not None else None
    return version if type(version) is int else None
