"""Turns an Airflow task's context into the StepRequest of the domain."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from ferryman.errors import SpecError
from ferryman.runtime.messages import StepResult
from ferryman.spec.windows import DAY, Window, day_window
from ferryman_airflow.params import check_params

WINDOW_PARAMS = ("window_start", "window_end")


def window_of(context: Any) -> Window:
    """The run's window: its params, else its data interval, else the last whole day (UTC).

    Runs by REST without a logical date have no data interval, unscheduled DAGs an empty one.
    """
    given = check_params(context["params"], WINDOW_PARAMS)
    if given:
        return _window_of_days(given)
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start is not None and end is not None and start < end:
        # Airflow's moments are a subclass with its own text form; the domain uses plain ones.
        return Window(start=_plain(start), end=_plain(end))
    return day_window(_plain(context["dag_run"].run_after) - DAY)


def earlier_results(context: Any, task_ids: Iterable[str]) -> dict[str, StepResult]:
    """The results of the run's finished tasks among those named, read from XCom."""
    found = {}
    for task_id in sorted(task_ids):
        value = context["ti"].xcom_pull(task_ids=task_id)
        if value is not None:
            found[task_id] = StepResult.model_validate(value)
    return found


def _window_of_days(given: dict[str, str]) -> Window:
    if "window_start" not in given:
        raise SpecError("param 'window_end' needs 'window_start'", remedy="Give both, or neither.")
    start = _day(given["window_start"])
    end = _day(given["window_end"]) if "window_end" in given else start + DAY
    if end <= start:
        raise SpecError(
            f"window_end {end:%Y-%m-%d} is not after window_start {start:%Y-%m-%d}",
            remedy="window_end is the day after the last one.",
        )
    return Window(start=start, end=end)


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise SpecError(f"{text!r} is not a day: {error}", remedy="Write 2013-02-01.") from error


def _plain(moment: datetime) -> datetime:
    return datetime.fromtimestamp(moment.timestamp(), tz=UTC)
