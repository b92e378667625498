"""What maintenance does for a model's prediction log: files put in order, old ones found."""

from datetime import datetime

from ferryman.data.versions.retention import Item
from ferryman.runtime.prediction_places import prediction_places
from ferryman.serving.log.finish import recover
from ferryman.serving.log.upkeep import compact, find_outdated, upkeep_lock
from ferryman.serving.log.upload import upload_waiting
from ferryman.steps.contract import StepContext


class LogCare:
    """The care for one model's log. What is to go is found when it is made, and goes later.

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

    def put_in_order(self) -> int:
        """Merge the files of finished days; how many went.

        What killed servers left is recovered first. Where the log belongs elsewhere, files that no
        server brings there are brought by this.
        """
        with upkeep_lock(self._root) as alone:
            if not alone:
                return 0
            recover(self._root)
            if len(self._places) > 1:
                upload_waiting(self._root, self._places[-1])
            return compact(self._places[-1], self._model, self._now)
