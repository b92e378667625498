"""Retention: what goes, what stays, and why; and that nothing needed is ever removed."""

import datetime as dt
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_folder import memory_folder
from test_data_snapshots import DAY, ENTRY, WINDOW, features, labels

from ferryman.data.rows.cleaning import QUARANTINE
from ferryman.data.versions.dataset_version import DatasetVersion, manifest_key
from ferryman.data.versions.marks import Marks
from ferryman.data.versions.pins import Pins
from ferryman.data.versions.retention import Plan, Retention
from ferryman.data.versions.snapshots import Snapshot, SnapshotStore
from ferryman.errors import IntegrityBroken, PolicyRefused, SpecError
from ferryman.runtime.files import json_bytes
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.memory_object_store import MemoryObjectStore
from ferryman.runtime.object_store import ObjectStore
from ferryman.spec.data import RetentionSpec
from ferryman.spec.windows import Window

WHO = {"reason": "test", "actor": "tester"}
SPEC = RetentionSpec()


class History:
    """A model's data as it grows; everything is written now, and looked at `days` later."""

    def __init__(self, objects: ObjectStore | None = None) -> None:
        self.objects = objects or MemoryObjectStore()
        self.store = SnapshotStore(self.objects)
        self.pins = Pins(self.objects)

    def version(self, value: int, day: int = 0, publish: bool = True) -> Snapshot:
        """A snapshot of a day, published unless told otherwise."""
        window = WINDOW.shifted(dt.timedelta(days=day))
        row = dict.fromkeys(QUARANTINE.names, str(value))
        rows = QUARANTINE.empty_table().from_pylist([row], QUARANTINE)
        made = self.store.write(
            "m", window, features(whole=[1, 2, value]), labels(), ENTRY, quarantine=rows
        )
        if publish:
            self.store.publish("m", window, made.id, "test")
        return made

    def dataset(self, *snapshots: str, role: str = "train", apart_from: str = "") -> str:
        """A dataset version of snapshots."""
        version = DatasetVersion(
            model="m", role=role, cutoff=DAY, event_window=Window(start=DAY, end=WINDOW.end),
            label="late", columns=[], snapshot_ids=list(snapshots),
            label_snapshot_ids=list(snapshots), rows=1, without_groups_of=apart_from,
        )  # fmt: skip
        name = version.content_digest()
        made = version.model_copy(update={"id": name})
        self.objects.create(manifest_key("m", name), json_bytes(made.model_dump(mode="json")))
        return name

    def retention(self, days: float, spec: RetentionSpec = SPEC) -> Retention:
        """The retention as it will be in some days."""
        later = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
        return Retention(self.objects, "m", spec, later)

    def plan(self, days: float, in_use: Mapping[str, str] | None = None) -> Plan:
        """What goes in some days."""
        return self.retention(days).plan(in_use or {})

    def remove(self, days: float, in_use: Mapping[str, str] | None = None) -> Plan:
        """What went in some days."""
        return self.retention(days).remove(lambda: in_use or {})

    def is_whole(self, snapshot: str) -> bool:
        """Whether a snapshot is there and both its tables can be read."""
        if self.objects.size(f"m/snapshots/{snapshot}/entry.json") is None:
            return False
        found = self.store.get("m", snapshot)
        return (
            self.store.read_features(found).num_rows == self.store.read_labels(found).num_rows + 2
        )


def going(plan: Plan, kind: str) -> set[str]:
    return {item.name for item in plan.goes if item.kind == kind}


def staying(plan: Plan) -> dict[str, str]:
    return {item.name: item.why for item in plan.stays}


@pytest.fixture
def history() -> History:
    return History()


def test_a_superseded_snapshot_goes_after_its_time(history: History) -> None:
    old, new = history.version(1), history.version(2)
    assert history.plan(30).goes == []
    assert staying(history.plan(30))[old.id] == "younger than 30d"
    plan = history.plan(33)
    assert going(plan, "snapshot") == {old.id}
    (item,) = plan.goes
    assert item.why.startswith("window 2013-01-05: superseded since 20")
    assert item.size > 1000
    assert staying(plan)[new.id] == "current of its window"
    assert history.is_whole(old.id), "a plan changes nothing"
    history.remove(33)
    assert not history.is_whole(old.id)
    assert history.is_whole(new.id)
    assert not [key for key in history.objects.keys("m") if old.id in key]
    with pytest.raises(IntegrityBroken, match="Ingest the window again"):
        history.store.get("m", old.id)
    assert [one.id for one in history.store.history("m", WINDOW)] == [old.id, new.id]
    assert history.remove(33).goes == []


def test_a_snapshot_that_a_kept_dataset_needs_stays(history: History) -> None:
    old = history.version(1)
    dataset = history.dataset(old.id)
    history.version(2)
    used = {dataset: "of a registered model #version 3"}
    plan = history.plan(400, used)
    assert "snapshot" not in {item.kind for item in plan.goes}
    assert staying(plan)[dataset] == used[dataset]
    assert staying(plan)[old.id] == f"needed by dataset #{dataset[:16]}"
    assert plan.reasons()["snapshot: needed by dataset"] == 1
    assert going(history.plan(60), "dataset") == set(), "younger than 90 days, so it needs too"
    assert staying(history.plan(60))[old.id].startswith("needed by dataset")
    assert going(history.plan(95), "dataset") == {dataset}
    assert going(history.plan(95), "snapshot") == {old.id}


def test_an_evaluation_version_stays_with_its_training_version(history: History) -> None:
    one = history.version(1)
    evaluation = history.dataset(one.id, role="eval")
    train = history.dataset(one.id, apart_from=evaluation)
    assert going(history.plan(95), "dataset") == {train, evaluation}
    assert going(history.plan(95, {train: "registered"}), "dataset") == set()


def test_pins_and_holds_keep_until_they_are_released(history: History) -> None:
    old = history.version(1)
    history.version(2)
    history.pins.pin("m", "audit", old.id, **WHO, hold=True)
    assert going(history.plan(400), "snapshot") == set()
    assert staying(history.plan(400))[old.id] == "legal hold #audit: test"
    quarantine = old.entry.quarantine
    assert quarantine is not None
    history.remove(400)
    assert history.store.read_quarantine(old.entry).num_rows == 1, "the hold is on it, too"
    other = history.version(3)
    with pytest.raises(PolicyRefused, match="'audit' is a legal hold on"):
        history.pins.pin("m", "audit", other.id, **WHO)
    history.pins.release("m", "audit", **WHO)
    assert history.pins.all("m") == []
    history.remove(400)
    assert not history.is_whole(old.id)
    with pytest.raises(SpecError, match="were removed"):
        history.store.read_quarantine(old.entry)
    with pytest.raises(SpecError, match="has no pin"):
        history.pins.release("m", "never", **WHO)
    assert [pin.version for pin in history.pins.history("m", "audit")] == [old.id, None]


@pytest.mark.parametrize("name", ["", "A", "../x", "a/b", "x\n", "a" * 64])
def test_the_name_of_a_pin_is_plain(history: History, name: str) -> None:
    with pytest.raises(SpecError, match="cannot be the name of a pin"):
        history.pins.pin("m", name, "0" * 64, **WHO)
    assert history.pins.get("m", name) is None


def test_old_windows_are_retired_where_declared_and_go_later(history: History) -> None:
    one = history.version(1)
    spec = RetentionSpec(windows=dt.timedelta(days=365))
    assert history.plan(2).goes == []
    first = history.retention(2, spec).remove(dict)
    assert going(first, "window") == {str(WINDOW)}
    assert history.is_whole(one.id), "it was current until just now"
    assert history.store.published("m") == []
    assert going(history.retention(36, spec).remove(dict), "snapshot") == {one.id}
    needed = history.version(2)
    dataset = history.dataset(needed.id)
    assert going(history.retention(36, spec).plan({dataset: "registered"}), "window") == set()


def test_what_a_killed_writer_left_goes(history: History) -> None:
    stray = f"m/snapshots/{'a' * 64}/features-0123456789abcdef.parquet"
    history.objects.create(stray, b"PAR1 half")
    history.objects.create(f"m/datasets/{'b' * 64}.entry.json", b"{}")
    assert history.plan(0).goes == []
    assert going(history.plan(3), "unfinished") == {"a" * 64, "b" * 64}
    history.remove(3)
    assert history.objects.keys("m") == []


def test_whatever_came_into_use_between_two_looks_is_spared(history: History) -> None:
    old = history.version(1)
    history.version(2)
    dataset = history.dataset(old.id)
    asked: list[Mapping[str, str]] = [{}, {dataset: "registered meanwhile"}]
    done = history.retention(95).remove(lambda: asked.pop(0))
    assert done.goes == []
    assert history.is_whole(old.id)
    history.version(1)  # no mark stands in the way of its use
    assert Marks(history.objects).begun("m") == []


def test_a_damaged_manifest_stops_everything(history: History) -> None:
    history.version(1)
    history.version(2)
    history.objects.create(f"m/datasets/{'c' * 64}.json", b"{")
    with pytest.raises(IntegrityBroken, match="not readable"):
        history.remove(400)
    assert Marks(history.objects).begun("m") == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["publish", "write", "dataset", "pin", "hold", "release", "register"]),
        st.integers(0, 2),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, days=st.sampled_from([0.0, 2.0, 31.0, 33.0, 92.0, 400.0]), local=st.booleans())
def test_nothing_that_is_needed_is_ever_removed(
    steps: list[tuple[str, int, int]], days: float, local: bool
) -> None:
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        history = History(LocalObjectStore(Path(folder)) if local else None)
        needs, in_use = _live(history, steps)
        history.remove(days, in_use)
        current = [snapshot.id for snapshot in history.store.published("m")]
        kept = [name for name in needs if history.objects.size(manifest_key("m", name))]
        assert set(in_use) <= set(kept)
        for pin in history.pins.all("m"):
            assert pin.version in kept or history.is_whole(str(pin.version))
        for snapshot in [*current, *(one for name in kept for one in needs[name])]:
            assert history.is_whole(snapshot)
        assert history.remove(days, in_use).goes == []
        for value, day in ((v, d) for v in range(3) for d in range(3)):
            assert history.is_whole(history.version(value, day).id), "what went can come again"


def _live(
    history: History, steps: list[tuple[str, int, int]]
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Carry steps out; the datasets with their snapshots, and those in use."""
    needs: dict[str, list[str]] = {}
    in_use: dict[str, str] = {}
    for what, value, day in steps:
        made = history.version(value, day, publish=what == "publish")
        if what in ("dataset", "register"):
            published = [snapshot.id for snapshot in history.store.published("m")] or [made.id]
            name = history.dataset(*published)
            needs[name] = published
            if what == "register":
                in_use[name] = "registered"
        elif what in ("pin", "hold") and history.pins.get("m", f"p{value}") is None:
            history.pins.pin("m", f"p{value}", made.id, **WHO, hold=what == "hold")
        elif what == "release" and history.pins.get("m", f"p{value}") is not None:
            history.pins.release("m", f"p{value}", **WHO)
    return needs, in_use
