"""Lives one policy day by day: serve, score, learn the labels, watch, and train when it is time."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.errors import GateRefused, Superseded
from ferryman.replay.day_book import FIRST, DayBook, DayOutcome
from ferryman.replay.lanes import KeepGoing
from ferryman.replay.plan import RENEWAL_RUNS, Policy, ReplayPlan
from ferryman.runtime.data_store import open_own_data_store
from ferryman.runtime.messages import StepResult
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.spec.rollout import RolloutSpec
from ferryman.spec.windows import Window, format_time
from ferryman.steps.journey import Journey
from ferryman.steps.pipelines import PIPELINES, Pipeline

_POLL_SECONDS = 0.2

logger = logging.getLogger(__name__)

# Training and release as one run: the release builds on this training, not on "the newest one".
RENEWAL = Pipeline(
    RENEWAL_RUNS,
    (*PIPELINES["training"].steps, *PIPELINES["release"].steps),
    search=PIPELINES["training"].search,
)
_CHOOSE_DATA = ("open_search", "train")


@dataclass(frozen=True)
class Renewal:
    """What became of one training: released as a version, or not, and why."""

    released: bool
    version: int | None
    verdict: str


class PolicyLife:
    """One policy's life in its own installation; its server runs already."""

    def __init__(self, plan: ReplayPlan, policy: Policy, settings: Settings) -> None:
        self._plan = plan
        self._policy = policy
        self._journey = Journey(settings, _released_at_once(plan.model))
        self._book = DayBook(plan.policy_home(policy))
        self._version: int | None = None

    def live(self, keep_going: KeepGoing) -> None:
        """Live every day that is not finished yet; stops between days when told to."""
        self._version = next(
            (past.version for past in reversed(self._book.read()) if past.version), None
        )
        if not self._book.has(FIRST):
            self._book.write(FIRST, self._first_champion())
        for day in self._plan.days:
            if not self._book.has(day.key):
                if not self._is_there(day, keep_going):
                    logger.warning("replay of %s stops before %s", self._policy, day)
                    return
                self._book.write(day.key, self._live_day(day))

    def _is_there(self, day: Window, keep_going: KeepGoing) -> bool:
        """Wait until a day is ingested; False when it is time to stop."""
        store = SnapshotStore(open_own_data_store(self._journey.settings))
        while keep_going():
            if store.current(self._plan.model.name, day) is not None:
                return True
            time.sleep(_POLL_SECONDS)
        return False

    def _first_champion(self) -> DayOutcome:
        started = time.perf_counter()
        start = self._plan.start
        renewal = self._renew(start, "the first champion")
        if not renewal.released:
            raise GateRefused(
                f"the first champion, trained at {start:%Y-%m-%d}, may not serve: "
                f"{renewal.verdict}",
                remedy="Start the replay later, or change the model or its gate.",
            )
        return self._outcome(start, renewal, "the first champion", 0, started)

    def _live_day(self, day: Window) -> DayOutcome:
        """Score the day with the champion of its morning; at its end look back and decide."""
        started = time.perf_counter()
        sent = self._monitoring_step("score", day).outputs["sent"]
        self._monitoring_step("join_labels", day)
        reason = self._reason_to_train(day)
        renewal = self._renew(day.end, reason) if reason else None
        return self._outcome(day.start, renewal, reason or "", int(str(sent)), started)

    def _reason_to_train(self, day: Window) -> str | None:
        """Why this policy trains at the end of a day; None when it does not."""
        if self._policy == "never":
            return None
        if self._policy == "nightly":
            return "every night"
        self._monitoring_step("monitor", day, {"tell": False})
        decision = self._monitoring_step("decide_retrain", day)
        return str(decision.outputs["reason"]) if decision.outputs["retrain"] else None

    def _renew(self, cutoff: datetime, reason: str) -> Renewal:
        """Train at a cut-off and release what comes of it; a refusal is a normal outcome."""
        run_id = f"replay-{cutoff:%Y%m%d}"
        params: dict[str, JsonValue] = {"cutoff": format_time(cutoff), "reason": reason}
        verdict = ""
        try:
            for step in RENEWAL.steps_of(self._plan.model.spec):
                result = self._journey.run_one(
                    RENEWAL, step, run_id, None, params if step in _CHOOSE_DATA else {}
                )
                verdict = result.text if step == "gate" else verdict
        except (GateRefused, Superseded) as refusal:
            return Renewal(released=False, version=None, verdict=refusal.text)
        version = int(str(result.outputs["version"]))
        return Renewal(released=version != self._version, version=version, verdict=verdict)

    def _monitoring_step(
        self, step: str, day: Window, params: Mapping[str, JsonValue] | None = None
    ) -> StepResult:
        pipeline = PIPELINES["monitoring"]
        return self._journey.run_one(pipeline, step, f"replay-{day.key}", day, params or {})

    def _outcome(
        self, day: datetime, renewal: Renewal | None, reason: str, sent: int, started: float
    ) -> DayOutcome:
        if renewal is not None and renewal.version is not None:
            self._version = renewal.version
        return DayOutcome(
            day=f"{day:%Y-%m-%d}",
            trained=renewal is not None,
            released=renewal.released if renewal else False,
            version=self._version,
            reason=reason,
            verdict=renewal.verdict if renewal else "",
            sent=sent,
            seconds=round(time.perf_counter() - started, 3),
        )


def _released_at_once(model: DeclaredModel) -> DeclaredModel:
    """The model without stages and approval: a year in minutes has no users to show it to."""
    spec = model.spec.model_copy(update={"rollout": RolloutSpec()})
    return model.model_copy(update={"spec": spec})
