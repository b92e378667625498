"""What runs left for people and is not needed for ever: scores, backfills, lineage events.

Of scores and backfills none goes while the run that made it, or one that found it done, is kept:
its result names it.
"""

import json
import logging
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from ferryman.data.versions.retention import GRACE, Item
from ferryman.runtime.lineage_events import begin_anew, events_file, older_parts
from ferryman.runtime.object_store import ObjectStore
from ferryman.runtime.old_runs import old_backfills, remove_run
from ferryman.runtime.run_store import RESULT
from ferryman.spec.durations import format_duration
from ferryman.steps.contract import BACKFILLS, StepContext

_MANIFEST = re.compile(r"scores/([0-9a-f]{64}\.json)")
_OF_A_RUN = "named by the result of a run that stays"

logger = logging.getLogger(__name__)


class OldOutputs:
    """The outputs of one model at one moment; `going` are the folders of runs that go."""

    def __init__(self, context: StepContext, now: datetime, going: Collection[Path]) -> None:
        self._settings, self._objects = context.settings, context.data_store
        self._model, self._spec, self._now = context.model.name, context.spec.data.retention, now
        self._going = set(going)
        self.stays: list[Item] = []

    def backfills(self, *, apply: bool) -> list[Item]:
        """What backfills wrote and nothing names any more; removed where asked."""
        limit = self._spec.backfills
        why = f"nothing written since {self._before(limit):%Y-%m-%d} (data.retention.backfills)"
        runs = self._settings.runs_root / self._model / "monitoring"
        root, items = self._settings.monitoring_root / BACKFILLS, []
        for folder in old_backfills(root, self._model, self._before(limit)):
            run = folder.parent.name
            if folder.name == self._model and self._is_kept(runs / run):
                self.stays.append(Item("backfill", run, "of a run that stays"))
                continue
            items.append(Item("backfill", run, why, _size(folder)))
            if apply:
                remove_run(folder)
                with suppress(OSError):  # another model's is there
                    folder.parent.rmdir()
        return items

    def lineage(self, *, apply: bool) -> list[Item]:
        """The oldest parts of the installation's lineage events; the file itself is begun anew."""
        file = events_file(self._settings.home)
        begin_anew(file)
        items = []
        for part in older_parts(file):
            items.append(Item("lineage events", part.name, "newer parts are kept", _bytes_of(part)))
            if apply:
                part.unlink(missing_ok=True)
        return items

    def scores(self, *, apply: bool) -> list[Item]:
        """Scores that nothing names any more; removed where asked, their manifests first.

        A file that no manifest names is what a killed run or removal left.
        """
        limit, items = self._spec.scores, []
        named = self._named_scores()
        for key in self._old_keys(".json", limit):
            name = key.rpartition("/")[2]
            if name in named:
                self.stays.append(Item("scores", name, _OF_A_RUN))
                continue
            why = f"older than data.retention.scores {format_duration(limit)}"
            items.append(Item("scores", name, why, self._objects.size(key) or 0, (key,)))
        gone = {key for item in items for key in item.keys}
        if apply:
            for key in gone:
                self._objects.delete(key)
        return [*items, *self._unnamed_files(gone, apply=apply)]

    def _unnamed_files(self, gone: set[str], *, apply: bool) -> Iterator[Item]:
        """Files of scores that no manifest names but for those that are gone."""
        manifests = [key for key in self._listed(".json") if key not in gone]
        needed = {_file_of(self._objects, key) for key in manifests}
        if None in needed:  # one that cannot be read may name any of them
            return
        for key in self._old_keys(".parquet", GRACE):
            if key in needed:
                continue
            size = self._objects.size(key) or 0
            if apply:
                self._objects.delete(key)
            yield Item("scores", key.rpartition("/")[2], "no manifest names it", size, (key,))

    def _named_scores(self) -> set[str]:
        found: set[str] = set()
        root = self._settings.runs_root / self._model
        for file in root.glob(f"*/*/batch_score/{RESULT}"):
            if self._is_kept(file.parents[1]):
                found.update(_MANIFEST.findall(file.read_text()))
        return found

    def _is_kept(self, run: Path) -> bool:
        return run.is_dir() and run not in self._going

    def _old_keys(self, kind: str, limit: timedelta) -> Iterator[str]:
        for key in self._listed(kind):
            written = self._objects.modified(key)
            if written is not None and written < self._before(limit):
                yield key

    def _listed(self, kind: str) -> list[str]:
        keys = self._objects.keys(f"{self._model}/scores")
        return [key for key in keys if key.endswith(kind)]

    def _before(self, limit: timedelta) -> datetime:
        return self._now - max(limit, GRACE)


def _file_of(objects: ObjectStore, manifest: str) -> str | None:
    """The key of the file that a manifest names; None where it cannot be read."""
    try:
        return str(json.loads(objects.read(manifest) or b"")["file"]["key"])
    except (ValueError, KeyError, TypeError):
        logger.warning("%s is no manifest of scores: no file of scores is removed", manifest)
        return None


def _bytes_of(file: Path) -> int:
    with suppress(FileNotFoundError):  # another model's maintenance was quicker
        return file.stat().st_size
    return 0


def _size(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())
