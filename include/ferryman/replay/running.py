"""Runs a replay: ingests the days once, lives the policies side by side, writes the report."""

import time
from collections.abc import Callable
from datetime import datetime

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
from ferryman.replay.plan import POLICIES, Policy, ReplayPlan, make_plan
from ferryman.replay.report import ReplayReport, make_report, report_table
from ferryman.replay.tasks import are_ingested, ingest_days, live_policy
from ferryman.settings import Settings

# (what, done, total): what is "ingest" or a policy; both count days.
ProgressCallback = Callable[[str, int, int], None]
# Two processes, as long as each other: training every night costs more than the two other lives.
_LIVES: tuple[tuple[Policy, ...], ...] = (("nightly",), ("decided", "never"))
_LANES = len(_LIVES)
_STRETCH = 7  # days that are ingested by one run


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
    _ingest(plan, progress)
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


def _ingest(plan: ReplayPlan, progress: ProgressCallback) -> None:
    days = list(plan.all_days())
    parts = [days[first : first + _STRETCH] for first in range(0, len(days), _STRETCH)]
    spans = [(part[0].start, part[-1].end) for part in parts]
    tasks = [Task(ingest_days, (plan, *span)) for span in spans if not are_ingested(plan, *span)]
    before = len(parts) - len(tasks)

    def show(done: int) -> None:
        progress("ingest", min((before + done) * _STRETCH, len(days)), len(days))

    show(0)
    run_lanes([tasks[lane::_LANES] for lane in range(_LANES)], show)


def _live(plan: ReplayPlan, progress: ProgressCallback) -> None:
    days = plan.days
    finished: dict[Policy, int] = {}

    def show(_: int = 0) -> None:
        for policy in POLICIES:
            count = DayBook(plan.policy_home(policy)).done(days)
            if finished.get(policy) != count:
                finished[policy] = count
                progress(policy, count, len(days))

    show()
    lives = [[policy for policy in lane if finished[policy] < len(days)] for lane in _LIVES]
    run_lanes([[Task(live_policy, (plan, policy)) for policy in lane] for lane in lives], show)
    show()
