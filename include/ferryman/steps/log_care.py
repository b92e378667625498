"""What maintenance does for a model's prediction log and posted labels: order, and old files."""

from datetime import UTC, date, datetime, timedelta

from ferryman.data.versions.retention import Item
from ferryman.monitoring.joined_windows import JoinedWindows
from ferryman.runtime.prediction_places import prediction_places
from ferryman.serving.labels.label_files import DAYS as LABEL_DAYS
from ferryman.serving.labels.label_reading import label_files
from ferryman.serving.log.finish import recover
from ferryman.serving.log.upkeep import OutdatedDay, compact, find_outdated, upkeep_lock
from ferryman.serving.log.upload import upload_waiting
from ferryman.spec.durations import format_duration
from ferryman.spec.model import ModelSpec
from ferryman.spec.windows import DAY, Window
from ferryman.steps.contract import StepContext


class LogCare:
    """The care for one model's log and labels.

    Which predictions are to go is found when it is made; they go later.
    Raises DependencyUnavailable (exit 6) where a place of the log is away.
    """

    def __init__(self, context: StepContext, now: datetime) -> None:
        self._model = context.model.name
        self._root = context.settings.predictions_root
        self._places = prediction_places(context.settings, context.connections)
        self._now = now
        self._before = now - context.spec.serving.log.keep
        self._found = [
            (place, day)
            for place in self._places
            for day in find_outdated(place, self._model, self._before)
        ]
        self._joined = JoinedWindows(context.settings.monitoring_root)
        self._label_time = label_time(context.spec)
        self._is_monitored = is_monitored(context.spec)
        self.stays: list[Item] = []

    def outdated(self, *, apply: bool) -> list[Item]:
        """The days that hold what was logged too long ago; removed where asked."""
        why = f"logged before {self._before:%Y-%m-%d %H:%M} (serving.log.keep)"
        items = []
        for place, day in self._found:
            sizes = [place.size(key) or 0 for key in day.keys]
            items.append(Item("day of predictions", day.folder, why, sum(sizes), day.keys))
            if apply:
                for key in day.keys:
                    place.delete(key)
        return items

    def outdated_labels(self, *, apply: bool) -> list[Item]:
        """The days of labels that came too long ago, and that a night has joined; removed if asked.

        The others stay, and are told as such; without a `monitor` declared, age alone counts.
        """
        keep = self._label_time
        items: list[Item] = []
        if keep is None:
            return items
        why = f"came before {self._now - keep:%Y-%m-%d} (kept for {format_duration(keep)})"
        for place in self._places:
            for day in find_outdated(place, self._model, self._now - keep, LABEL_DAYS):
                size = sum(place.size(key) or 0 for key in day.keys)
                if self._is_monitored and not self._was_joined(day):
                    stays = "no night has joined all of it"
                    self.stays.append(Item("day of labels", day.folder, stays, size))
                    continue
                items.append(Item("day of labels", day.folder, why, size, day.keys))
                if apply:
                    for key in day.keys:
                        place.delete(key)
        return items

    def _was_joined(self, found: OutdatedDay) -> bool:
        """Whether the window of a day was joined with all files that there are of it."""
        start = datetime.combine(date.fromisoformat(found.folder[-10:]), datetime.min.time(), UTC)
        day = Window(start=start, end=start + DAY)
        told = self._joined.inputs(self._model, day)
        count = len(label_files(self._places, self._model, day))
        return told is not None and int(told.get("files", 0)) >= count

    def put_in_order(self) -> int:
        """Merge the files of finished days, of predictions and of labels; how many went.

        What killed servers left is recovered first. Where the log belongs elsewhere, files that no
        server brings there are brought by this.
        """
        with upkeep_lock(self._root) as alone:
            if not alone:
                return 0
            recover(self._root)
            if len(self._places) > 1:
                upload_waiting(self._root, self._places[-1])
            last = self._places[-1]
            merged = compact(last, self._model, self._now)
            return merged + compact(last, self._model, self._now, LABEL_DAYS)


def label_time(spec: ModelSpec) -> timedelta | None:
    """How long posted labels are kept at least; None for ever.

    Never less than nights go on joining them, or a snapshot that is made again asks for them.
    """
    given = spec.data.retention.labels
    if given is None and spec.data.label.posted:
        return None
    needed = max(spec.monitor.quality.matures, spec.data.label.known_after) + 2 * DAY
    return max(given or spec.serving.log.keep, needed)


def is_monitored(spec: ModelSpec) -> bool:
    """Whether a declaration has a `monitor`: only then must a night have joined what goes."""
    monitor, quality = spec.monitor, spec.monitor.quality
    # What is filled in for a regression that says nothing.
    is_filled_in = (
        spec.train.task == "regression"
        and monitor.model_fields_set == {"quality"}
        and quality.model_fields_set == {"metric"}
        and quality.metric == "rmse"
    )
    return "monitor" in spec.model_fields_set and not is_filled_in
