"""Runs a replay: ingests the days once, lives the policies side by side, writes the report."""

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from datetime import datetime, timedelta
from typing import Any

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
from ferryman.errors import DependencyUnavailable
from ferryman.replay.day_book import DayBook
from ferryman.replay.plan import POLICIES, Policy, ReplayPlan, make_plan
from ferryman.replay.report import ReplayReport, make_report, report_table
from ferryman.replay.workers import ingest_days, limit_threads, live_policy
from ferryman.settings import Settings
from ferryman.spec.windows import DAY

# (what, done, total): what is "ingest" or a policy; both count days.
ProgressCallback = Callable[[str, int, int], None]
# The longest life first, so that the two shorter ones share the other process.
_ORDER: tuple[Policy, ...] = ("nightly", "decided", "never")
_CHUNK = timedelta(days=7)
_POLL = 0.5


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
    plan.folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        max_workers=min(2, settings.core_count), mp_context=context, initializer=limit_threads
    ) as pool:
        try:
            _ingest(pool, plan, progress)
            _live(pool, plan, progress)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
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


def _ingest(pool: ProcessPoolExecutor, plan: ReplayPlan, progress: ProgressCallback) -> None:
    days = list(plan.all_days())
    edges = list(range(0, len(days), _CHUNK // DAY))
    futures = [
        pool.submit(ingest_days, plan, days[edge].start, days[min(edge + 7, len(days)) - 1].end)
        for edge in edges
    ]
    _watch(
        futures,
        lambda: progress("ingest", _sum_done(futures), len(days)),
    )


def _live(pool: ProcessPoolExecutor, plan: ReplayPlan, progress: ProgressCallback) -> None:
    futures = [pool.submit(live_policy, plan, policy, os.getpid()) for policy in _ORDER]
    days = plan.days
    finished: dict[Policy, int] = {}

    def show() -> None:
        for policy in POLICIES:
            count = DayBook(plan.policy_home(policy)).done(days)
            if finished.get(policy) != count:
                finished[policy] = count
                progress(policy, count, len(days))

    _watch(futures, show)
    if any(count < len(days) for count in finished.values()):
        raise DependencyUnavailable(
            "the replay was stopped before its last day", remedy="Run it again: it continues."
        )


def _watch(futures: Sequence[Future[Any]], show: Callable[[], None]) -> None:
    """Wait for all futures, showing how far they are; the first exception is raised."""
    pending: set[Future[Any]] = set(futures)
    while pending:
        done, pending = wait(pending, timeout=_POLL, return_when=FIRST_EXCEPTION)
        show()
        for future in done:
            future.result()


def _sum_done(futures: Sequence[Future[int]]) -> int:
    return sum(
        future.result() for future in futures if future.done() and future.exception() is None
    )
