"""What a replay comes to: one line a policy, a picture, a page."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from rich.table import Table

from ferryman.replay.costs import Costs, policy_costs
from ferryman.replay.day_book import DayBook, DayOutcome
from ferryman.replay.page import render_page
from ferryman.replay.picture import TITLES, Line, draw
from ferryman.replay.plan import RENEWAL_RUNS, Policy, ReplayPlan
from ferryman.replay.track import SHOWN, read_track
from ferryman.runtime.files import write_atomic, write_json


@dataclass(frozen=True)
class PolicyReport:
    """One policy's life in figures.

    trainings: all that ran, the first included; releases: champion changes, the first included;
    figures: the task's two metrics, pooled over all labelled predictions (None where none are);
    costs: of trainings and probes.
    """

    policy: Policy
    trainings: int
    releases: int
    figures: dict[str, float | None]
    labels: int
    seconds: float
    costs: Costs

    def cells(self) -> tuple[str, ...]:
        """All of it as text, in the order of `headings`."""
        return (
            self.policy,
            str(self.trainings),
            str(self.releases),
            *(_figure(value) for value in self.figures.values()),
            f"{self.labels:,}",
            str(self.costs.probes),
            f"{self.costs.probe_cpu_seconds:.0f}",
            f"{self.costs.training_cpu_seconds:.0f}",
            f"{self.seconds:.0f}",
        )


@dataclass(frozen=True)
class ReplayReport:
    """A finished replay: its folder, its policies, where the picture and the page are.

    `seconds` is the wall time of the run that ended it; a policy's own seconds add up its days.
    """

    id: str
    folder: Path
    policies: tuple[PolicyReport, ...]
    picture: Path
    page: Path
    seconds: float

    @property
    def headings(self) -> tuple[str, ...]:
        """What the cells of a policy are."""
        return _headings(self.policies[0].figures)


def make_report(plan: ReplayPlan, policies: Sequence[Policy], seconds: float) -> ReplayReport:
    """Read the lives of all policies and write report.json, replay.png and replay.html."""
    days = [day.start.date() for day in plan.days]
    lives = {policy: DayBook(plan.policy_home(policy)).read() for policy in policies}
    train = plan.model.spec.train
    lines: list[Line] = []
    figures: list[PolicyReport] = []
    for policy in policies:
        track = read_track(plan.policy_settings(policy), plan.model.name, train, plan.days)
        pooled = track.pooled()
        line = Line(
            policy=policy,
            days=days,
            curves={metric: track.rolling(days, metric) for metric in SHOWN[train.task]},
            changes=_changes(lives[policy]),
        )
        lines.append(line)
        costs = policy_costs(plan.policy_settings(policy), plan.model.name, RENEWAL_RUNS)
        figures.append(_summary(policy, lives[policy], pooled, SHOWN[train.task], costs))
    title = f"{plan.model.name}, {plan.start:%Y-%m-%d} to {plan.last:%Y-%m-%d}"
    png = draw(lines, title)
    picture, page = plan.folder / "replay.png", plan.folder / "replay.html"
    write_atomic(picture, png)
    rows = [figure.cells() for figure in figures]
    html = render_page(
        title,
        png,
        _headings(SHOWN[train.task]),
        rows,
        {str(name): life for name, life in lives.items()},
    )
    write_atomic(page, html.encode())
    report = ReplayReport(plan.id, plan.folder, tuple(figures), picture, page, round(seconds, 1))
    write_json(
        plan.folder / "report.json",
        {
            "id": plan.id,
            "seconds": report.seconds,
            "policies": [asdict(figure) for figure in figures],
        },
    )
    return report


def report_table(report: ReplayReport) -> Table:
    """The report as a table for the terminal."""
    table = Table(*report.headings, title=f"{report.id}: {report.seconds:.0f} s")
    for policy in report.policies:
        table.add_row(*policy.cells())
    return table


def _headings(metrics: Iterable[str]) -> tuple[str, ...]:
    shown = (TITLES[metric] for metric in metrics)
    costs = ("probes", "probe CPU s", "training CPU s")
    return ("policy", "trainings", "releases", *shown, "labels", *costs, "seconds")


def _summary(
    policy: Policy,
    life: Sequence[DayOutcome],
    pooled: dict[str, float | None],
    metrics: Sequence[str],
    costs: Costs,
) -> PolicyReport:
    return PolicyReport(
        policy=policy,
        trainings=sum(1 for day in life if day.trained),
        releases=sum(1 for day in life if day.released),
        figures={metric: pooled[metric] for metric in metrics},
        labels=int(pooled["rows"] or 0),
        seconds=round(sum(day.seconds for day in life), 1),
        costs=costs,
    )


def _changes(life: Sequence[DayOutcome]) -> list[date]:
    """Days at whose end the champion changed."""
    return [date.fromisoformat(day.day) for day in life if day.released]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
