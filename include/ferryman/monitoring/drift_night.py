"""All comparisons of one night, from profiles of days and labelled answers. Pure: no files.

Every column, and the champion's scores, are compared twice: the trailing window with what was at
first (the training data; the champion's first days of answers), and the newest window with the
days before it, since a break of today is a seventh of a week.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import numpy as np

from ferryman.monitoring.drift import DRIFTED, ColumnDrift, Outcome, compare_days
from ferryman.monitoring.drift_concept import ConceptDrift, Residuals, compare_residuals
from ferryman.monitoring.drift_findings import Comparison, Finding, Kind, Night
from ferryman.monitoring.drift_joint import tell_apart
from ferryman.monitoring.drift_thresholds import Against
from ferryman.profiles.column_profile import Profile, read_profile
from ferryman.profiles.day_profiles import DayProfiles, merged
from ferryman.profiles.trained_days import TrainedDays
from ferryman.profiles.two_samples import MANY_DAYS
from ferryman.spec.data import FeatureSpec
from ferryman.spec.monitoring import DriftSpec
from ferryman.spec.windows import DAY, Window

# Days that tell how days differ.
QUIET = timedelta(days=28)
_FIRST = 7  # nights that make up a champion's first days of answers
SCORE = {"score": FeatureSpec(type="number")}
# So plain that it does not matter how far quiet nights go.
_PLAIN = frozenset({"all_null", "wrong_type"})


@dataclass(frozen=True)
class Spans:
    """The days of a night: trailing and newest window, those before the newest one, and quiet ones.

    quiet_trailing and quiet_newest tell how days differ, for either comparison.
    """

    trailing: list[str]
    newest: list[str]
    previous: list[str]
    quiet_trailing: list[str]
    quiet_newest: list[str]


def spans(days: Sequence[str], window: Window, spec: DriftSpec) -> Spans:
    """Which of some days (2013-02-01, UTC) are which for the night of a window."""
    begins = {day: datetime.fromisoformat(day).replace(tzinfo=UTC) for day in sorted(days)}
    midnight = _midnight(window.start)

    def between(start: datetime, end: datetime) -> list[str]:
        return [day for day, begin in begins.items() if start <= begin < end]

    first = _first_day(window.end - spec.window)
    before = between(first - QUIET, first)
    return Spans(
        trailing=between(first, window.end),
        newest=between(midnight, window.end),
        previous=between(_first_day(midnight - spec.previous), midnight),
        # A change must not tell how days differ without it, once there are enough other days.
        quiet_trailing=before if len(before) >= MANY_DAYS else between(first - QUIET, window.end),
        quiet_newest=between(midnight - QUIET, midnight),
    )


def compare_columns(  # noqa: PLR0913 - both sides, what is watched, and how days differ
    reference: Profile,
    days: DayProfiles,
    columns: Mapping[str, FeatureSpec],
    window: Window,
    spec: DriftSpec,
    *,
    trained: Mapping[str, TrainedDays] | None = None,
) -> tuple[list[ColumnDrift], list[Comparison]]:
    """Each watched column's trailing window against its reference, and all comparisons.

    `trained`: how the days of the training data differ, by column.
    """
    own = spans(list(days), window, spec)
    lasting = compare_days(
        reference,
        [days[day] for day in own.trailing],
        columns,
        spec,
        quiet=[days[day] for day in own.quiet_trailing],
        trained=trained,
    )
    sudden = _newest(days, own, columns, spec, trained)
    return lasting, [
        *(_comparison("column", "training", column, column.column) for column in lasting),
        *(_comparison("previous", "previous", column, column.column) for column in sudden),
    ]


def compare_scores(
    first: Profile | None, days: DayProfiles, window: Window, spec: DriftSpec
) -> list[Comparison]:
    """The champion's scores against its first days of answers, and of the newest window."""
    own = spans(list(days), window, spec)
    lasting = compare_days(
        first or {},
        [days[day] for day in own.trailing],
        SCORE,
        spec,
        quiet=[days[day] for day in own.quiet_trailing],
    )
    return [
        *(_comparison("prediction", "training", column, "score") for column in lasting),
        *(
            _comparison("prediction", "previous", column, "score")
            for column in _newest(days, own, SCORE, spec)
        ),
    ]


def compare_joint(
    newest: Any, earlier: Any, columns: Mapping[str, FeatureSpec], spec: DriftSpec
) -> Comparison:
    """How columns hang together in the newest window against the days before."""
    found = tell_apart(newest, earlier, columns, min_rows=spec.min_rows)
    names = " and ".join(found.columns)
    return Comparison(
        "joint",
        "previous",
        "joint",
        names or "all columns",
        effect=found.effect,
        effect_name="told apart",
        p_value=found.p_value,
        text=f"{names} depend on each other in another way: told apart with AUC {found.area:.3f}"
        if found.area is not None
        else "",
        outcome=found.outcome,
    )


def compare_concept(labelled: Residuals, window: Window, spec: DriftSpec) -> list[Comparison]:
    """Residuals of the trailing window, and of its newest labelled day, against other days."""
    first = int(np.datetime64(_first_day(window.end - spec.window).date(), "D").astype(np.int64))
    days = np.unique(labelled.days)
    lasting = compare_residuals(labelled, days[days >= first], spec.effect)
    sudden = compare_residuals(labelled, days[-1:], spec.effect)
    return [_concept("training", lasting), _concept("previous", sudden)]


def upheld(
    columns: Sequence[ColumnDrift], findings: Sequence[Finding], least: float
) -> list[ColumnDrift]:
    """The columns as the night found them: `drifted` only where a finding says so.

    A column of which only the newest window has changed is drifted too, and `unit` is what is said
    of one that has another unit. `least`: the declared effect.
    """
    found: dict[str, Finding] = {}
    for finding in findings:
        if finding.kind in ("column", "previous", "unit"):
            found.setdefault(finding.name, finding)
    told = []
    for column in columns:
        own = found.get(column.column)
        if own is None:
            left = column.unmoved(least) if column.drifted else column.outcome
            told.append(replace(column, outcome=left))
        elif column.drifted and own.kind != "unit":
            told.append(column)
        else:
            called = cast(Outcome, own.called if own.called in DRIFTED else "drifted")
            told.append(replace(column, outcome=called, text=own.text))
    return told


def _newest(
    days: DayProfiles,
    own: Spans,
    columns: Mapping[str, FeatureSpec],
    spec: DriftSpec,
    trained: Mapping[str, TrainedDays] | None = None,
) -> list[ColumnDrift]:
    before = merged(days[day] for day in own.previous)
    return compare_days(
        before,
        [days[day] for day in own.newest],
        columns,
        spec,
        quiet=[days[day] for day in own.quiet_newest],
        trained=trained,
    )


def _comparison(kind: Kind, against: Against, column: ColumnDrift, subject: str) -> Comparison:
    when = "" if against == "training" else " in the newest window"
    return Comparison(
        kind,
        against,
        subject,
        column.column,
        effect=column.effect,
        effect_name=column.effect_name,
        p_value=column.p_value,
        text=f"{column.text}{when}",
        outcome=column.outcome,
        certain=column.outcome in _PLAIN,
    )


def _concept(against: Against, found: ConceptDrift) -> Comparison:
    return Comparison(
        "concept",
        against,
        "residuals",
        "residuals",
        effect=found.effect,
        effect_name="residual",
        p_value=found.p_value,
        text=found.text,
        outcome=found.outcome,
    )


def _first_day(moment: datetime) -> datetime:
    """The first midnight that is not before a moment."""
    midnight = _midnight(moment)
    return midnight if midnight == moment else midnight + DAY


def newest_and_previous(table: Any, window: Window, spec: DriftSpec) -> tuple[Any, Any]:
    """The rows of the newest window's days, and those of the days before it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    times, kind = table["event_time"], table.schema.field("event_time").type
    midnight = pa.scalar(_midnight(window.start), kind)
    first = pa.scalar(_first_day(_midnight(window.start) - spec.previous), kind)
    earlier = pc.and_(pc.greater_equal(times, first), pc.less(times, midnight))
    return table.filter(pc.greater_equal(times, midnight)), table.filter(earlier)


def first_scores(earlier: Sequence[Night], version: int, before: datetime) -> Profile | None:
    """The profile of a champion's scores on its first nights that ended before a moment."""
    own = [
        night.scores
        for night in earlier
        if night.version == version and night.scores and night.ended <= before
    ]
    return merged(read_profile(scores) for scores in own[:_FIRST]) if own else None


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
