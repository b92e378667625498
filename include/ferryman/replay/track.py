"""A policy's record over the days: pooled figures, and figures over trailing days."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferryman.evaluation.measures import Measures, make_measures
from ferryman.monitoring.joined_windows import JoinedWindows
from ferryman.runtime.score_column import score_array
from ferryman.settings import Settings
from ferryman.spec.metrics import MetricName, Task
from ferryman.spec.training import TrainSpec
from ferryman.spec.windows import DAY, Window
from ferryman.training.labels import encode_labels

ROLLING_DAYS = 28
# Fewer labels or days than this give no point of a rolling line: one stormy day is no trend.
_LEAST_LABELS, _LEAST_DAYS = 200, 7


# The two figures of a task that a replay shows.
SHOWN: Mapping[Task, tuple[MetricName, MetricName]] = {
    "binary": ("roc_auc", "log_loss"),
    "multiclass": ("accuracy", "log_loss"),
    "regression": ("r2", "rmse"),
}


@dataclass(frozen=True)
class Track:
    """Labelled predictions of one policy: days since 1970 [n], encoded labels [n], and scores."""

    days: NDArray[np.int64]
    labels: NDArray[Any]
    scores: NDArray[np.float64]
    measures: Measures

    def pooled(self) -> dict[str, float | None]:
        """Every metric over all labelled predictions together."""
        return self.measures.score(self.labels, self.scores)

    def rolling(self, days: Sequence[date], metric: str) -> list[float | None]:
        """The metric over the 28 days that end with each day; None where labels are too few.

        The first days have a shorter past: what there is of it counts, from a week on.
        """
        values: list[float | None] = []
        for day in days:
            number = (day - date(1970, 1, 1)).days
            inside = (self.days > number - ROLLING_DAYS) & (self.days <= number)
            enough = (
                int(inside.sum()) >= _LEAST_LABELS
                and len(np.unique(self.days[inside])) >= _LEAST_DAYS
            )
            found = self.measures.score(self.labels[inside], self.scores[inside]) if enough else {}
            values.append(found.get(metric))
        return values


def read_track(settings: Settings, model: str, train: TrainSpec, days: Sequence[Window]) -> Track:
    """The labelled predictions of events in these days, each once, by their joined windows."""
    start, end = days[0].start, days[-1].end
    # Labels come after the event, so the windows they came in reach beyond the last day.
    joined = JoinedWindows(settings.monitoring_root).read(
        model, start, end + 7 * DAY, task=train.task, classes=train.classes
    )
    inside = pc.and_(
        pc.greater_equal(joined["event_time"], start), pc.less(joined["event_time"], end)
    )
    table = joined.filter(pc.and_(inside, pc.is_valid(joined["label"])))
    moments = table["event_time"].to_numpy(zero_copy_only=False)
    return Track(
        days=moments.astype("datetime64[D]").astype(np.int64),
        labels=encode_labels(table["label"].to_pandas(), train),
        scores=score_array(table["score"]),
        measures=make_measures(train.task, train.classes),
    )
