"""What `monitor` says of each day's answers: quality as labels mature, an estimate before that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import JsonValue

from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Head
from ferryman.monitoring.estimate import (
    Calibrated,
    Estimate,
    calibrate,
    expected,
    is_estimated,
    with_error,
)
from ferryman.monitoring.joined_windows import JoinedWindows
from ferryman.monitoring.labels import first_predictions, joined_schema, merge
from ferryman.monitoring.quality_windows import (
    EventDay,
    EventDays,
    Revisions,
    day_name,
    event_days,
    is_mature,
    known_by,
    rows_digest,
    rows_of,
)
from ferryman.runtime.score_column import score_array
from ferryman.spec.windows import DAY, Window
from ferryman.steps.contract import StepContext
from ferryman.steps.evaluated_rows import evaluated_rows
from ferryman.steps.logged_answers import logged_answers
from ferryman.steps.monitored_quality import measure_joined, weighted_score
from ferryman.training.labels import encode_labels

_MOST_ERRORS = 180  # newest matured days that tell the error of an estimate
_LEAST_LABELS = 200  # of a version, to calibrate its scores by
_LEAST_TOLD = 0.9  # share of the answers whose version can be calibrated


@dataclass(frozen=True)
class MonitoredEvents:
    """Event days, oldest first, and the estimate of the champion's newest days."""

    days: Sequence[Revisions]
    estimate: Estimate | None
    why_none: str = ""

    @property
    def text(self) -> str:
        """One line for people."""
        return self.estimate.text if self.estimate else self.why_none

    def outputs(self) -> dict[str, JsonValue]:
        """For the step's result, and the report."""
        return {"estimate": self.estimate.as_json() if self.estimate else None}

    def report(self) -> dict[str, JsonValue]:
        """For the report alone."""
        return {"events": [day.as_json() for day in self.days], "estimate_text": self.text}

    def metrics(self) -> dict[str, float | None]:
        """For the step's result."""
        found, mature = self.estimate, [day.said[-1] for day in self.days if day.mature]
        return {
            "estimate": found.value if found else None,
            "estimate_error": found.error if found else None,
            "mature_days": float(len(mature)),
        }


def monitored_events(context: StepContext, head: Head | None) -> MonitoredEvents:
    """Restate the days whose labels may still come, and estimate the newest ones."""
    return _Restatement(context, head).run()


@dataclass
class _Restatement:
    """One night's look at the days whose labels may still come."""

    context: StepContext
    head: Head | None
    _curves: dict[tuple[int, str], Calibrated | None] = field(default_factory=dict)
    _logged: dict[str, Any] = field(default_factory=dict)

    def run(self) -> MonitoredEvents:
        """Say what is known of each day, then estimate."""
        store, name = EventDays(self.context.monitoring_root), self.context.model.name
        window, matures = self.context.window, self._matures
        found = []
        for day in event_days(window, matures):
            said = store.said(name, day_name(day), window.end - timedelta(microseconds=1))
            revised = self._revised(day, said[-1] if said else None)
            if revised is None:
                continue
            store.write(name, window, revised)
            said = store.said(name, day_name(day), window.end)
            mature = is_mature(day, said[-1], window.end, matures)
            found.append(Revisions(said, mature))
        estimate, why = self._estimate(store)
        return MonitoredEvents(found, estimate, why)

    @property
    def _spec(self) -> Any:
        return self.context.spec.monitor.quality

    @property
    def _matures(self) -> timedelta:
        """How long labels may come; a day cannot be final before its labels are due."""
        due: timedelta = self.context.spec.data.label.known_after + DAY
        declared: timedelta = self._spec.matures
        return max(declared, due)

    @cached_property
    def _joined(self) -> Any:
        """All joined rows that can tell of these days, as far as known when the window ended."""
        end, train = self.context.window.end, self.context.spec.train
        back = max(self._matures, self._spec.window)
        start = event_days(self.context.window, back)[0].start
        store = JoinedWindows(self.context.monitoring_root)
        return store.read(
            self.context.model.name, start, end, task=train.task, classes=train.classes
        )

    def _revised(self, day: Window, last: EventDay | None) -> EventDay | None:
        """What is known of a day now; None where nothing was predicted, then or since."""
        joined = rows_of(self._joined, day)
        digest = rows_digest(joined, self._spec.metric)
        if last is not None and last.rows == digest and not self._is_newest(day):
            return last
        rows = self._with_undue(day, joined)
        if not rows.num_rows and last is None:
            return None
        quality = measure_joined(self.context, rows)
        settled = rows.num_rows - rows["known_at"].null_count
        estimate = last.estimate if last else None
        if estimate is None or not last or not last.labelled:
            estimate = self._expected(rows, day)
        return EventDay(
            day=day_name(day),
            known=known_by(self.context.window),
            metric=quality.metric,
            predicted=quality.predicted,
            labelled=quality.labelled,
            settled=settled,
            coverage=quality.coverage,
            value=quality.value,
            low=quality.low,
            high=quality.high,
            estimate=estimate,
            text=quality.text,
            rows=digest,
        )

    def _is_newest(self, day: Window) -> bool:
        """Days whose answers are read again: those that the estimate is about and are not due."""
        window = self.context.window
        newest = max(window.end - window.start, self._spec.window)
        return self._is_undue(day) and day.end > window.end - newest

    def _is_undue(self, day: Window) -> bool:
        return day.end > self.context.window.end - self.context.spec.data.label.known_after

    def _with_undue(self, day: Window, joined: Any) -> Any:
        """The joined rows of a day, and its answers whose labels are not due: those of the log."""
        if not self._is_undue(day):
            return joined
        train = self.context.spec.train
        schema = joined_schema(train.task, train.classes)
        name = day_name(day)
        if name not in self._logged:
            self._logged[name] = first_predictions(logged_answers(self.context, day))
        answers = self._logged[name]
        rows = answers.num_rows
        columns = [
            answers[part.name].cast(part.type)
            if part.name in answers.column_names
            else pa.nulls(rows, part.type)
            for part in schema
        ]
        return merge([joined, pa.Table.from_arrays(columns, schema=schema)], schema)

    def _expected(self, rows: Any, day: Window) -> float | None:
        """The metric to be expected of answers, by what labels before that day said of scores."""
        train, metric = self.context.spec.train, self._spec.metric
        if not rows.num_rows or not is_estimated(train.task, metric):
            return None
        scores, versions = score_array(rows["score"]), rows["version"].to_numpy()
        probable, told = np.zeros_like(scores), np.zeros(len(scores), dtype=bool)
        for version in np.unique(versions):
            curve = self._curve(int(version), day)
            if curve is not None:
                own = versions == version
                probable[own], told[own] = curve(scores[own]), True
        if told.mean() < _LEAST_TOLD:
            return None
        return expected(scores[told], probable[told], weighted_score(self.context, metric))

    def _curve(self, version: int, day: Window) -> Calibrated | None:
        """What a version's scores meant: by labels known before a day ended, or its evaluation."""
        key = version, day_name(day)
        if key not in self._curves:
            before = self._labelled_before(version, day)
            enough = before.num_rows >= max(_LEAST_LABELS, self._spec.min_labels)
            curve = None
            if enough:
                labels = encode_labels(before["label"].to_pandas(), self.context.spec.train)
                curve = calibrate(labels, score_array(before["score"]))
            self._curves[key] = curve or self._curve_of_evaluation(version)
        return self._curves[key]

    def _labelled_before(self, version: int, day: Window) -> Any:
        kind, rows = pa.timestamp("us", tz="UTC"), self._joined
        wanted = pc.and_(
            pc.and_(pc.equal(rows["version"], version), pc.is_valid(rows["label"])),
            pc.and_(
                pc.less(rows["event_time"], pa.scalar(day.start, kind)),
                pc.less(rows["known_at"], pa.scalar(day.end, kind)),
            ),
        )
        return rows.filter(wanted)

    def _curve_of_evaluation(self, version: int) -> Calibrated | None:
        key = version, ""
        if key not in self._curves:
            found = self._candidates.get(version)
            rows = evaluated_rows(self.context, found) if found else None
            self._curves[key] = calibrate(rows.labels, rows.scores) if rows else None
        return self._curves[key]

    @cached_property
    def _candidates(self) -> Mapping[int, Any]:
        history = Ledger(self.context.settings.ledger_url).history(self.context.model.name)
        return {op.candidate.version: op.candidate for op in history}

    def _estimate(self, store: EventDays) -> tuple[Estimate | None, str]:
        """The champion's metric over the newest days, whether or not labels came."""
        metric, train = self._spec.metric, self.context.spec.train
        if not is_estimated(train.task, metric):
            return None, f"{metric} of a {train.task} task is not estimated before labels come"
        if self.head is None:
            return None, "nothing is served yet: no estimate"
        end = self.context.window.end
        newest = [
            day for day in event_days(self.context.window, self._spec.window) if day.end <= end
        ]
        parts = [
            self._with_undue(day, rows_of(self._joined, day))
            for day in newest
            if day.start >= end - self._spec.window
        ]
        rows = merge(parts, joined_schema(train.task, train.classes))
        rows = rows.filter(pc.equal(rows["version"], self.head.version))
        last = Window(start=end - DAY, end=end)
        value = self._expected(rows, last)
        if value is None:
            return None, f"no estimate: too few answers or labels of version {self.head.version}"
        span = max(1, self._spec.window // DAY)
        return with_error(metric, value, rows.num_rows, self._errors(store), span), ""

    def _errors(self, store: EventDays) -> list[float]:
        """How far the estimates of days were off whose labels came, oldest first."""
        name, end = self.context.model.name, self.context.window.end
        errors = []
        # By their dates: the days of a replayed year stand beside those of today.
        oldest, newest = f"{end - _MOST_ERRORS * DAY:%Y-%m-%d}", f"{end:%Y-%m-%d}"
        for day in [one for one in store.days(name) if oldest <= one < newest]:
            said = store.said(name, day, end)
            last = said[-1] if said else None
            if last is None or last.metric != self._spec.metric:
                continue
            if last.value is not None and last.estimate is not None and _has_settled(last):
                errors.append(last.value - last.estimate)
        return errors


def _has_settled(day: EventDay) -> bool:
    """Whether nearly all labels of a day are there, or never to come."""
    return day.settled >= _LEAST_TOLD * day.predicted
