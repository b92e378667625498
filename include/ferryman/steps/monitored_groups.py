"""What `monitor` says of slices and groups: the champion's answers of late, part by part."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import JsonValue

from ferryman.evaluation.intervals import draw
from ferryman.evaluation.measures import Measures, make_measures
from ferryman.evaluation.row_losses import compared_metric, row_losses
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Candidate, Head
from ferryman.monitoring.groups import (
    Figure,
    GroupFinding,
    SliceLook,
    SliceRule,
    figure,
    judge_slices,
)
from ferryman.monitoring.joined_windows import JoinedWindows
from ferryman.monitoring.labels import first_predictions
from ferryman.monitoring.quality_windows import day_numbers
from ferryman.monitoring.recent_slices import DayLosses, DayRule, Recent, recent_worsening
from ferryman.runtime.score_column import score_array
from ferryman.spec.evaluation import SliceSpec
from ferryman.spec.metrics import LOWER_IS_BETTER
from ferryman.spec.windows import Window
from ferryman.steps.contract import StepContext
from ferryman.steps.evaluated_rows import EvaluatedRows, evaluated_rows
from ferryman.steps.logged_answers import logged_answers
from ferryman.steps.monitored_fairness import group_findings
from ferryman.steps.slice_parts import SlicePart, slice_parts
from ferryman.training.labels import encode_labels

if TYPE_CHECKING:
    import pandas as pd

_RESAMPLES = 200
_MOST_DRAWN = 20_000  # rows of a slice that are resampled; the error shrinks with their root


@dataclass(frozen=True)
class MonitoredGroups:
    """Slices of `evaluation.slices`, and groups of `gates.fairness` with their gaps."""

    slices: Sequence[GroupFinding]
    groups: Sequence[GroupFinding]

    @property
    def worse(self) -> list[GroupFinding]:
        """What calls for attention: gaps between groups, then slices, the surest first."""
        found = [one for one in (*self.slices, *self.groups) if one.outcome == "worse"]
        return sorted(found, key=lambda one: one.p_value or 0.0)

    @property
    def alarms(self) -> list[str]:
        """How many call for attention, in words; nothing where none does."""
        named = ", ".join(f"{one.column} {one.value}" for one in self.worse[:3])
        return [f"{len(self.worse)} slices or groups are worse: {named}"] if self.worse else []

    def outputs(self) -> dict[str, JsonValue]:
        """For the step's result, and the report."""
        return {"worse": [one.text for one in self.worse]}

    def report(self) -> dict[str, JsonValue]:
        """For the report alone."""
        return {
            "slices": [one.as_json() for one in self.slices],
            "groups": [one.as_json() for one in self.groups],
        }

    def metrics(self) -> dict[str, float | None]:
        """For the step's result."""
        return {"worse_groups": float(len(self.worse))}


@dataclass(frozen=True)
class _Rows:
    """Answers with the columns that part them; labels and scores of those that have a label.

    places: of the labelled rows in the frame; days: of every row of the frame.
    """

    frame: "pd.DataFrame"
    labels: npt.NDArray[Any]
    scores: npt.NDArray[np.float64]
    places: npt.NDArray[np.intp]
    days: npt.NDArray[np.int64]


def monitored_groups(context: StepContext, head: Head | None) -> MonitoredGroups:
    """Look at every declared slice and group in the champion's answers of the trailing window."""
    spec = context.spec
    slices, fairness = spec.evaluation.slices, spec.gates.fairness
    if head is None or not (slices or fairness):
        return MonitoredGroups([], [])
    rows = _rows(context, head)
    measures = make_measures(spec.train.task, spec.train.classes)
    return MonitoredGroups(
        _slices(context, head, measures, rows) if slices else [],
        [
            one
            for gate in fairness
            for one in group_findings(
                context,
                gate,
                rows.frame.iloc[rows.places].reset_index(drop=True),
                rows.labels,
                rows.scores,
                days=rows.days[rows.places],
            )
        ],
    )


def _least(context: StepContext) -> int:
    return context.spec.monitor.groups.min_labels or context.spec.evaluation.min_rows


def _rows(context: StepContext, head: Head) -> _Rows:
    """The champion's answers to the newest events that are due, with what the log kept of them."""
    spec, end = context.spec, context.window.end
    known = spec.monitor.quality.window
    start = end - known - spec.data.label.known_after
    store, train = JoinedWindows(context.monitoring_root), spec.train
    joined = store.read(context.model.name, start, end, task=train.task, classes=train.classes)
    kind = pa.timestamp("us", tz="UTC")
    late = pc.greater_equal(joined["event_time"], pa.scalar(start, kind))
    joined = joined.filter(pc.and_(late, pc.equal(joined["version"], head.version)))
    columns = _columns(context)
    logged = first_predictions(logged_answers(context, Window(start=start, end=end), columns))
    found = pc.index_in(joined["entity_key"], value_set=logged["entity_key"].combine_chunks())
    cells = {name: logged[name].take(found) for name in columns if name in logged.column_names}
    labelled = pc.is_valid(joined["label"]).to_numpy()
    known_rows = joined.filter(pa.array(labelled))
    return _Rows(
        frame=_frame(context, cells, joined.num_rows),
        labels=encode_labels(known_rows["label"].to_pandas(), train),
        scores=score_array(known_rows["score"]),
        places=np.flatnonzero(labelled),
        days=day_numbers(joined["event_time"]),
    )


def _columns(context: StepContext) -> list[str]:
    named = [part.column for part in context.spec.evaluation.slices]
    return [*dict.fromkeys([*named, *(gate.column for gate in context.spec.gates.fairness)])]


def _frame(context: StepContext, cells: dict[str, Any], rows: int) -> "pd.DataFrame":
    """The columns as a dataset has them: numbers with NaN for null, categories with ""."""
    import pandas as pd

    kinds, made = context.spec.features.columns, {}
    for name, column in cells.items():
        if kinds[name].type == "category":
            made[name] = pc.fill_null(column.cast(pa.string()), "").to_pandas()
        else:
            made[name] = column.cast(pa.float64(), safe=False).to_pandas()
    return pd.DataFrame(made, index=range(rows))


def _slices(
    context: StepContext, head: Head, measures: Measures, rows: _Rows
) -> list[GroupFinding]:
    """Every declared slice; one whose column is not logged is told, and cannot be looked at."""
    spec = context.spec
    candidate = _candidate(context, head)
    before = evaluated_rows(context, candidate) if candidate else None
    parts = [part for declared in spec.evaluation.slices for part in _parts(declared, rows, before)]
    days = _by_day(context, parts, rows, before)
    looks = [
        replace(_look(context, part, measures, rows, before), recent=recent)
        for part, recent in zip(parts, days, strict=True)
    ]
    metric, declared = spec.monitor.quality.metric, spec.monitor.groups
    return judge_slices(
        looks,
        SliceRule(
            metric=metric,
            lower_is_better=metric in LOWER_IS_BETTER,
            tolerance=declared.tolerance,
            significance=declared.significance,
            least=_least(context),
        ),
    )


def _candidate(context: StepContext, head: Head) -> Candidate | None:
    history = Ledger(context.settings.ledger_url).history(context.model.name)
    own = (op.candidate for op in reversed(history) if op.candidate.digest == head.digest)
    return next(own, None)


def _parts(declared: SliceSpec, rows: _Rows, before: EvaluatedRows | None) -> list[SlicePart]:
    column, nothing = declared.column, np.zeros(0, dtype=np.intp)
    if column not in rows.frame.columns:
        return [SlicePart(column, "(not logged)", nothing, nothing)]
    earlier = before.frame[column] if before and column in before.frame.columns else None
    return slice_parts(declared, rows.frame[column], earlier)


def _by_day(
    context: StepContext, parts: Sequence[SlicePart], rows: _Rows, before: EvaluatedRows | None
) -> list[Recent]:
    """What each slice's rows lose beyond the other rows of their days."""
    task, metric = context.spec.train.task, context.spec.monitor.quality.metric
    loss = compared_metric(task, metric, "log_loss")
    now = DayLosses(row_losses(task, loss, rows.labels, rows.scores), rows.days[rows.places])
    then, labels = None, rows.labels
    if before is not None:
        labels = before.labels
        then = DayLosses(row_losses(task, loss, labels, before.scores), before.days)
    flags = [
        (
            _flags(part.before, 0 if before is None else len(before.days)),
            _flags(part.now, len(rows.frame))[rows.places],
        )
        for part in parts
    ]
    tolerance = context.spec.monitor.groups.tolerance
    rule = DayRule.of(loss, metric, tolerance, _least(context), labels)
    return recent_worsening(then, now, flags, rule)


def _flags(places: npt.NDArray[np.intp], rows: int) -> npt.NDArray[np.bool_]:
    flags = np.zeros(rows, dtype=np.bool_)
    flags[places] = True
    return flags


def _look(
    context: StepContext,
    part: SlicePart,
    measures: Measures,
    rows: _Rows,
    before: EvaluatedRows | None,
) -> SliceLook:
    own = np.isin(rows.places, part.now)
    least, labelled = _least(context), int(own.sum())
    now = then = None
    if labelled >= least:
        days = rows.days[rows.places[own]]
        now = _figure(context, measures, rows.labels[own], rows.scores[own], days)
    if before is not None and len(part.before) >= least:
        places = part.before
        days = before.days[places]
        then = _figure(context, measures, before.labels[places], before.scores[places], days)
    return SliceLook(part.column, part.name, len(part.now), labelled, now, then)


def _figure(
    context: StepContext,
    measures: Measures,
    labels: npt.NDArray[Any],
    scores: npt.NDArray[np.float64],
    days: npt.NDArray[np.int64],
) -> Figure | None:
    if not np.isfinite(scores).all():
        return None
    metric, seed, count = context.spec.monitor.quality.metric, context.spec.train.seed, len(labels)
    model = measures.resampled(labels, scores)
    drawn = np.linspace(0, count - 1, min(count, _MOST_DRAWN)).astype(np.int64)
    sample = model if len(drawn) == count else measures.resampled(labels[drawn], scores[drawn])
    errors = np.concatenate(
        [sample.metrics(counts, [metric])[metric] for counts in draw(len(drawn), _RESAMPLES, seed)]
    )
    # The error of a sample is larger by the root of what it leaves out.
    errors = np.nanmean(errors) + (errors - np.nanmean(errors)) * math.sqrt(len(drawn) / count)
    return figure(lambda counts: model.metrics(counts, [metric])[metric], days, errors)
