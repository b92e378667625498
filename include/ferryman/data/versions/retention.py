"""What of a model's data may go, what must stay, and why; and the removal itself.

What is registered or in the ledger is told from outside, as ids with a reason. Everything that was
written, published, loaded or superseded within a day stays in any case (see marks).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from ferryman.data.versions.marks import Marks
from ferryman.data.versions.publications import Publication, Publications
from ferryman.data.versions.stored_versions import StoredDataset, StoredSnapshot, StoredVersions
from ferryman.runtime.object_store import ObjectStore
from ferryman.spec.data import RetentionSpec
from ferryman.spec.durations import format_duration
from ferryman.spec.windows import Window

GRACE = timedelta(days=1)
Kind = Literal[
    "window",
    "dataset",
    "snapshot",
    "quarantine",
    "unfinished",
    "run",
    "temporary file",
    "day of predictions",
    "day of labels",
    "scores",
    "backfill",
    "lineage events",
]


@dataclass(frozen=True)
class Item:
    """One thing that goes or stays. `keys` are removed in their order, the commit point first."""

    kind: Kind
    name: str
    why: str
    size: int = 0
    keys: tuple[str, ...] = ()
    window: Window | None = None


@dataclass
class Plan:
    """What goes and what stays at a moment."""

    goes: list[Item] = field(default_factory=list)
    stays: list[Item] = field(default_factory=list)

    def add(self, item: Item, stays: str | None) -> None:
        """Enter an item; `stays` says why it does."""
        if stays is None:
            self.goes.append(item)
        else:
            kept = Item(item.kind, item.name, stays, item.size, window=item.window)
            self.stays.append(kept)

    def reasons(self) -> dict[str, int]:
        """How many things stay for which reason; ids are left out of the reasons."""
        counts = Counter(f"{item.kind}: {item.why.partition(' #')[0]}" for item in self.stays)
        return dict(sorted(counts.items()))


InUse = Callable[[], Mapping[str, str]]  # versions that are needed, each with the reason


class Retention:
    """The retention of one model's data at one moment."""

    def __init__(
        self, objects: ObjectStore, model: str, spec: RetentionSpec, now: datetime
    ) -> None:
        self._objects, self._model, self._spec, self._now = objects, model, spec, now
        self._marks, self._publications = Marks(objects), Publications(objects)
        self._versions = StoredVersions(objects, model)

    def plan(self, in_use: Mapping[str, str]) -> Plan:
        """Look at everything; nothing is changed. IntegrityBroken (exit 7) for a damaged record."""
        plan = Plan()
        found = self._versions.read()
        needed = {**in_use, **found.pinned}
        kept = self._plan_datasets(plan, found.datasets, needed)
        for dataset in kept:
            for name in dataset.needs:
                needed.setdefault(name, f"needed by dataset #{dataset.id[:16]}")
        self._plan_windows(plan, found.windows, needed)
        current = {history[-1].id for history in found.windows.values() if history}
        for snapshot in found.snapshots:
            self._plan_snapshot(plan, snapshot, needed, current)
        for item in found.unfinished:
            self._plan_unfinished(plan, item)
        for key, window, held in found.quarantine:
            self._plan_quarantine(plan, key, window, held)
        return plan

    def remove(self, in_use: InUse) -> Plan:
        """Mark all that goes, look at everything again, and remove what still goes.

        Killed anywhere, it leaves whole versions, invisible remains, and marks; the next removal
        finishes them. What came into use in between is spared.
        """
        first = self.plan(in_use())
        marked = {
            item.name
            for item in first.goes
            if self._marks.begin_removal(self._model, _mark(item), item.why)
        }
        again = self.plan(in_use())
        done = Plan(stays=again.stays)
        for item in again.goes:
            if item.name in marked:
                self._remove(item)
                done.goes.append(item)
            else:
                done.add(item, "came up, or was being removed by another, in the meantime")
        for name in {_mark(item) for item in first.goes} | set(self._marks.begun(self._model)):
            if self._marks.is_ours(self._model, name):
                self._marks.end_removal(self._model, name)
        return done

    def _remove(self, item: Item) -> None:
        if item.kind == "window" and item.window is not None:
            self._retire(item)
        for key in item.keys:
            self._objects.delete(key)
        if item.kind in ("snapshot", "dataset", "unfinished"):
            self._marks.forget_uses(self._model, item.name)

    def _retire(self, item: Item) -> None:
        if item.window is None:
            return

        def end(last: Publication | None) -> Publication | None:
            if last is None or last.id is None:
                return None
            return Publication(
                id=None, parent=last.id, reason=item.why, actor="maintenance", at=self._now
            )

        self._publications.append(self._model, item.window, end)

    def _plan_datasets(
        self, plan: Plan, datasets: Iterable[StoredDataset], needed: dict[str, str]
    ) -> list[StoredDataset]:
        """Enter datasets; those that stay come back, with the one that each was kept apart from."""
        kept = []
        # Training versions first: each keeps the evaluation version whose groups it leaves out.
        for dataset in sorted(datasets, key=lambda one: one.role == "eval"):
            stays = needed.get(dataset.id) or self._young(dataset.used, self._spec.datasets)
            item = Item(
                "dataset",
                dataset.id,
                f"unused since {dataset.used:%Y-%m-%d}, by no registered model",
                dataset.size,
                dataset.keys,
            )
            plan.add(item, stays)
            if stays is not None:
                kept.append(dataset)
                if dataset.apart_from:
                    needed.setdefault(dataset.apart_from, f"belongs to #{dataset.id[:16]}")
        return kept

    def _plan_windows(
        self, plan: Plan, windows: Mapping[Window, list[Publication]], needed: Mapping[str, str]
    ) -> None:
        """Enter published windows where the declaration says that they end at all."""
        limit = self._spec.windows
        for window, history in windows.items():
            last = history[-1]
            if limit is None or last.id is None:
                continue
            why = f"older than data.retention.windows {format_duration(limit)}"
            stays = needed.get(last.id) or self._young(window.end, limit)
            plan.add(Item("window", str(window), why, window=window), stays)

    def _plan_snapshot(
        self,
        plan: Plan,
        snapshot: StoredSnapshot,
        needed: Mapping[str, str],
        current: set[str | None],
    ) -> None:
        stays = needed.get(snapshot.id)
        if stays is None and snapshot.id in current:
            stays = "current of its window"
        stays = stays or self._young(snapshot.used, self._spec.superseded)
        how = "superseded" if snapshot.was_published else "never published, and unused"
        item = Item(
            "snapshot",
            snapshot.id,
            f"{_day(snapshot.window)}: {how} since {snapshot.used:%Y-%m-%d}",
            snapshot.size,
            snapshot.keys,
        )
        plan.add(item, stays)

    def _plan_unfinished(self, plan: Plan, item: StoredSnapshot) -> None:
        """Enter what a killed writer or removal left: objects that no entry names."""
        why = f"what a killed writer or removal left on {item.used:%Y-%m-%d}"
        stays = self._young(item.used, GRACE)
        plan.add(Item("unfinished", item.id, why, item.size, item.keys), stays)

    def _plan_quarantine(self, plan: Plan, key: str, written: datetime, held: str | None) -> None:
        limit = self._spec.quarantine
        why = f"older than data.retention.quarantine {format_duration(limit)}"
        item = Item("quarantine", key, why, self._objects.size(key) or 0, (key,))
        plan.add(item, held or self._young(written, limit))

    def _young(self, since: datetime, limit: timedelta) -> str | None:
        """Why something that was last needed then stays; None where its time is over."""
        if since > self._now - max(limit, GRACE):
            return f"younger than {format_duration(max(limit, GRACE))}"
        return None


def _day(window: Window | None) -> str:
    return f"window {window.start:%Y-%m-%d}" if window else "no window"


def _mark(item: Item) -> str:
    """The name of an item's mark: a version's id, or a plain form of what else it is."""
    if item.kind == "window" and item.window is not None:
        return f"window-{item.window.key}"
    return item.name.replace("/", "_")
