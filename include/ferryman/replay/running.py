"""Runs a replay: ingests the days once, lives the policies side by side, writes the report."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ferryman.catalog import find_model
from ferryman.replay.day_book import DayBook
from ferryman.replay.lanes import Task, run_lanes
from ferryman.replay.plan import POLICIES, STRETCH, Policy, ReplayPlan, make_plan
from ferryman.replay.report import ReplayReport, make_report, report_table
from ferryman.replay.tasks import are_ingested, ingest_days, live_policy
from ferryman.settings import Settings

# (what, done, total): what is "ingest" or a policy; both count days.
ProgressCallback = Callable[[str, int, int], None]
# Two processes: training every night costs more than the two other lives.
_LIVES: tuple[tuple[Policy, ...], ...] = (("nightly",), ("decided", "never"))
_LANES = len(_LIVES)
# Days that are ingested before life begins; from then on ingesting is much faster than living.
_AHEAD = timedelta(days=14)


def run_replay(
    settings: Settings,
    model_name: str,
    start: datetime,
    end: datetime,
    progress: ProgressCallback,
) -> ReplayReport:
    """Live the days from `start` to `end` (both included, midnights UTC) under three policies.

    Continues a replay of the same days and declaration that was stopped. Raises what a step raised,
    apart from the gate's refusals, which are part of life.
    """
    began = time.perf_counter()
    plan = make_plan(find_model(settings.zoo, model_name), settings, start, end)
    _begin(plan, progress)
    _live(plan, progress)
    return make_report(plan, POLICIES, time.perf_counter() - began)


def replay_with_progress(
    settings: Settings, model_name: str, start: datetime, end: datetime, out: Console
) -> ReplayReport:
    """Run a replay with a progress bar for each part, then show its table and where it is."""
    columns = (
        TextColumn("{task.description:>8}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("days"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=out) as bars:
        tasks: dict[str, TaskID] = {
            name: bars.add_task(name, total=None, start=False) for name in ("ingest", *POLICIES)
        }

        def show(what: str, done: int, total: int) -> None:
            if done:
                bars.start_task(tasks[what])
            bars.update(tasks[what], completed=done, total=total)

        report = run_replay(settings, model_name, start, end, show)
    out.print(report_table(report))
    out.print(f"picture: {report.picture}\npage:    {report.page}")
    return report


def _begin(plan: ReplayPlan, progress: ProgressCallback) -> None:
    """Ingest what the first training needs and the first days, with all hands."""
    days = list(plan.all_days())
    tasks = [task for task in _ingest_tasks(plan) if _is_early(task, plan)]
    before = _ingested(plan)

    def show(done: int) -> None:
        progress("ingest", min((before + done) * STRETCH, len(days)), len(days))

    show(0)
    run_lanes([tasks[lane::_LANES] for lane in range(_LANES)], show)


def _live(plan: ReplayPlan, progress: ProgressCallback) -> None:
    """Live the policies; the lane with less to do ingests the later days first."""
    days, all_days = plan.days, len(list(plan.all_days()))
    finished: dict[Policy, int] = {}
    before, later = _ingested(plan), _ingest_tasks(plan)

    def show(done: int) -> None:
        progress("ingest", min((before + min(done, len(later))) * STRETCH, all_days), all_days)
        for policy in POLICIES:
            count = DayBook(plan.policy_home(policy)).done(days)
            if finished.get(policy) != count:
                finished[policy] = count
                progress(policy, count, len(days))

    show(0)
    lives = [
        [Task(live_policy, (plan, policy)) for policy in lane if finished[policy] < len(days)]
        for lane in _LIVES
    ]
    run_lanes([lives[0], [*later, *lives[1]]], show)
    show(len(later))


def _ingest_tasks(plan: ReplayPlan) -> list[Task]:
    """What is still to be ingested, a stretch of days a task."""
    return [
        Task(ingest_days, (plan, *stretch))
        for stretch in plan.stretches
        if not are_ingested(plan, *stretch)
    ]


def _ingested(plan: ReplayPlan) -> int:
    return len(plan.stretches) - len(_ingest_tasks(plan))


def _is_early(task: Task, plan: ReplayPlan) -> bool:
    start = task.arguments[1]
    assert isinstance(start, datetime)  # noqa: S101 - as _ingest_tasks makes them
    return start < plan.start + _AHEAD
