"""What a replay will do, and where each part of it keeps its state."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

from ferryman.errors import SpecError
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.spec.windows import DAY, Window, day_window, format_time

Policy = Literal["never", "nightly", "decided"]
STRETCH = 7  # days that are ingested by one run
RENEWAL_RUNS = "renewal"  # the pipeline of training and release as one run
POLICIES: tuple[Policy, ...] = get_args(Policy)


@dataclass(frozen=True)
class ReplayPlan:
    """One replay of one model: days [start, last], three policies on the same days.

    Equal plans (same days, same declaration) have the same folder, so that a replay that was killed
    goes on where it stopped.
    """

    model: DeclaredModel
    settings: Settings
    start: datetime
    last: datetime

    @property
    def id(self) -> str:
        """Names the replay by model, days and declaration."""
        return f"{self.model.name}-{self.start:%Y%m%d}-{self.last:%Y%m%d}-{self.model.digest[:8]}"

    @property
    def folder(self) -> Path:
        """Everything that the replay writes."""
        return self.settings.home / "replay" / self.id

    @property
    def days(self) -> list[Window]:
        """The days that are lived, oldest first."""
        return list(Window(start=self.start, end=self.last + DAY).days())

    @property
    def history(self) -> Window | None:
        """The days before the first that training looks back on; None where there are none.

        A day of the year before the replayed one would read a day of that year's end, which lies in
        the future: the past begins with the recorded year.
        """
        train = self.model.spec.train
        reach = train.window + train.holdout + self.model.spec.data.label.known_after
        first = day_window(self.start - reach).start
        replayed = self.model.spec.data.replay
        if replayed is not None and self.start.year == replayed.year:
            first = max(first, datetime(replayed.year, 1, 1, tzinfo=self.start.tzinfo))
        return Window(start=first, end=self.start) if first < self.start else None

    def all_days(self) -> Iterator[Window]:
        """The days to ingest: the past that training needs, then the days that are lived."""
        if self.history is not None:
            yield from self.history.days()
        yield from self.days

    @property
    def stretches(self) -> list[tuple[datetime, datetime]]:
        """The days to ingest as spans [start, end) of a week, the last one shorter."""
        days = list(self.all_days())
        parts = [days[first : first + STRETCH] for first in range(0, len(days), STRETCH)]
        return [(part[0].start, part[-1].end) for part in parts]

    @property
    def shared_settings(self) -> Settings:
        """The installation that ingests; the policies read its data."""
        return self._settings_below(self.folder / "shared")

    def policy_home(self, policy: Policy) -> Path:
        """Where a policy keeps its ledger, registry, server, prediction log and progress."""
        return self.folder / policy

    def policy_settings(self, policy: Policy, *, port: int = 0, admin_port: int = 0) -> Settings:
        """A policy's own installation over the shared data; one core, as two run at once."""
        return self._settings_below(
            self.policy_home(policy),
            data_root=self.shared_settings.data_root,
            serving_port=port,
            serving_admin_port=admin_port,
        )

    def _settings_below(self, home: Path, **changes: object) -> Settings:
        given: dict[str, object] = {
            "root": self.settings.root,
            "home": home,
            # Named, so that no environment variable can mix a replay with real life.
            "data_root": home / "data",
            "data_connection": "",
            "predictions_connection": "",
            "ledger_url": f"sqlite:///{home / 'ledger.db'}",
            "mlflow_uri": f"sqlite:///{home / 'mlflow' / 'mlflow.db'}",
            "zoo": self.settings.zoo,
            "source_root": self.settings.source_root,
            "actor": self.settings.actor,
            "code_version": self.settings.code_version,
            "cpus": 1,
            **changes,
        }
        return Settings.model_validate(given)


def make_plan(
    model: DeclaredModel, settings: Settings, start: datetime, last: datetime
) -> ReplayPlan:
    """Check the days and make the plan; SpecError (exit 2) says what is wrong with them."""
    for day in (start, last):
        if day != day_window(day).start:
            raise SpecError(f"{format_time(day)} is not midnight UTC", remedy="Give whole days.")
    if last < start:
        raise SpecError(
            f"the last day {last:%Y-%m-%d} is before the first {start:%Y-%m-%d}",
            remedy="Write --from FIRST --to LAST.",
        )
    return ReplayPlan(model=model, settings=settings, start=start, last=last)
