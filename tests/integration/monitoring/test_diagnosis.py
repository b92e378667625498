"""What an alarm comes from is named first: a unit, a commit, a slice; on quiet nights nothing."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr
from release_world import _day_tables, candidate
from rollback_world import alert_channel
from served_world import TRAINED, ServedWorld, at

from ferryman.data.versions.snapshots import SnapshotEntry
from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import Candidate, State
from ferryman.monitoring.declarations import Declarations
from ferryman.monitoring.diagnosis import Diagnosis
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.run_store import run_folder
from ferryman.settings import Settings
from ferryman.steps.contract import StepContext, StepParams, run_step
from ferryman.steps.diagnosed_changes import found_changes
from ferryman.steps.diagnosed_window import diagnose_window
from ferryman.steps.told_diagnosis import tell_diagnosis

FIRST, BROKEN, LAST = TRAINED, TRAINED + 7, TRAINED + 10


class ChangingWorld(ServedWorld):
    """Answers whose inputs, and windows whose code and queries, change on a day."""

    broken: Any = None
    entry = SnapshotEntry(reason="test", actor="test")

    version = 2

    def _log(self, day: int, features: pa.Table) -> None:
        super()._log(day, self.broken(features) if self.broken and day >= BROKEN else features)
        if self.version != 2:
            folder = self.settings.predictions_root / "tiny" / f"date={at(day).start:%Y-%m-%d}"
            [file] = folder.glob("*.parquet")
            table = pq.read_table(file, partitioning=None)
            place = table.schema.get_field_index("version")
            own = pa.array([self.version] * len(table), table.schema.field("version").type)
            pq.write_table(table.set_column(place, table.schema.field(place), own), file)

    def _publish(self, day: int, features: pa.Table, labels: pa.Table | None) -> None:
        known = _day_tables(0)[1].slice(0, 0) if labels is None else labels
        snapshot = self._store.write("tiny", at(day), features, known, self.entry)
        self._store.publish("tiny", at(day), snapshot.id, "test")

    def look(self, day: int, **params: Any) -> StepResult:
        """Run monitor of a day alone, as a run of its own."""
        folder = run_folder(self.settings.runs_root, "tiny", "monitoring", f"look-{params}")
        request = self.context(day).request.model_copy(
            update={"params": params, "run_uri": str(folder)}
        )
        return run_step(request, self.model, self.settings, origin="http://airflow/run")

    def context(self, day: int) -> StepContext:
        folder = run_folder(self.settings.runs_root, "tiny", "monitoring", f"night-{day}")
        request = StepRequest(
            model="tiny",
            step="monitor",
            run_id=f"night-{day}",
            run_uri=str(folder),
            window=at(day),
            spec_digest=self.model.digest,
        )
        connections = DeclaredConnections(self.settings)
        return StepContext(request, self.model, self.settings, StepParams(), connections)


@pytest.fixture
def alerts() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    with alert_channel() as channel:
        yield channel


@pytest.fixture
def world(tmp_path: Path, make_bundle: Any, alerts: tuple[str, Any]) -> ChangingWorld:
    settings = Settings(
        home=tmp_path / "home",
        zoo=tmp_path / "zoo",
        root=tmp_path,
        connection_urls={"alerts": SecretStr(alerts[0])},
    )
    declared = """\
monitor: {quality: {metric: log_loss, tolerance: 0.05}}
evaluation: {slices: [{column: carrier}]}
"""
    return ChangingWorld(settings, make_bundle, declared)


def first_alarm(world: ChangingWorld, change: Any = None, on_break: Any = None) -> Diagnosis:
    """Serve night by night until monitoring alarms after the break; what is said of that night."""
    for day in range(FIRST, LAST + 1):
        # A day's labels are published with the features of the next.
        if day == BROKEN - 1 and on_break is not None:
            on_break()
        world.serve(day, change if day >= BROKEN else None)
        if day < BROKEN - 1:
            continue
        if day == BROKEN - 1:
            world.night(day - 1, FIRST)
        world.night(day)
        said = diagnose_window(world.context(day))
        if day < BROKEN:
            assert (said.alarms, said.culprits) == ([], ())
        elif said.alarms:
            return said
    raise AssertionError("monitoring never alarmed")


def in_miles(features: pa.Table) -> pa.Table:
    place = features.schema.get_field_index("distance")
    return features.set_column(place, "distance", pc.multiply(features["distance"], 0.01))


def test_a_changed_unit_is_named_with_its_factor_and_told_once(
    world: ChangingWorld, alerts: tuple[str, list[dict[str, Any]]]
) -> None:
    world.broken = in_miles
    said = first_alarm(world)
    first = said.culprits[0]
    assert (first.kind, first.name) == ("column", "column distance")
    assert first.facts["factor"] == pytest.approx(0.01)
    assert said.last_good == str(at(BROKEN - 1))
    assert len(said.text.splitlines()) <= 6
    assert "ferryman run ingest --model tiny" in said.text
    # The night itself told people, of this window alone.
    [told] = alerts[1]
    assert (told["title"], told["text"]) == (said.title, said.text)
    assert told["culprits"] == [one.name for one in said.culprits]
    kept = Path(told["diagnosis"])
    day = next(day for day in range(BROKEN, LAST + 1) if at(day).key == kept.stem)
    # They are told once, however often the window is looked at; a backfill and a replay tell none.
    again = world.look(day)
    assert again.outputs["diagnosis"] == said.title
    assert tell_diagnosis(world.context(day), said) is False
    kept.unlink()
    for silent in ({"backfill": True}, {"tell": False}):
        assert world.look(day, **silent).outputs["diagnosis"] is None
    assert len(alerts[1]) == 1
    assert not kept.exists()
    told_again = world.look(day)
    assert alerts[1][1]["link"] == "http://airflow/run"
    assert "Run: http://airflow/run" in alerts[1][1]["text"]
    assert len(alerts[1][1]["text"].splitlines()) <= 6
    # What cannot be diagnosed is told in the step's text, and stops nobody.
    snapshot = world._store.current("tiny", at(day))
    assert snapshot is not None
    for file in (world.settings.data_root / "tiny" / "snapshots" / snapshot.id).glob("*.json"):
        file.write_text("{")
    kept.unlink()
    failed = world.look(day)
    assert "the alarm was not diagnosed: " in failed.text
    assert (failed.verdict, failed.outputs["diagnosis"]) == (told_again.verdict, None)
    declared = world.settings.monitoring_root / "tiny" / "declarations"
    assert [file.stem for file in declared.iterdir()] == [world.model.digest]


def test_a_commit_that_changed_a_query_is_named(world: ChangingWorld, tmp_path: Path) -> None:
    query = world.settings.zoo / "tiny" / "features.sql"

    def git(*words: str) -> str:
        own = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
        command = ["git", "-C", str(tmp_path), *own, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(subject: str, digest: str) -> None:
        git("add", "zoo")
        git("commit", "-m", subject)
        world.entry = world.entry.model_copy(
            update={"code_version": git("rev-parse", "HEAD"), "queries": {"features.sql": digest}}
        )

    git("init", "-q")
    commit("first", "a")

    def bad_commit() -> None:
        query.write_text(query.read_text() + "-- distance / 100\n")
        commit("distance in another unit", "b")

    world.broken = in_miles
    said = first_alarm(world, on_break=bad_commit)
    first = said.culprits[0]
    assert first.kind == "code"
    assert "'distance in another unit' by Ann changed features.sql" in first.text
    assert "column distance" in first.text
    assert first.remedy.startswith(f"git revert {git('rev-parse', '--short=12', 'HEAD')}")
    assert [one.name for one in said.culprits[1:]] == ["column distance"]


def test_a_bad_slice_is_named_with_its_share(world: ChangingWorld) -> None:
    random = np.random.default_rng(1)

    def spoil(features: pa.Table, truth: Any) -> Any:
        bad = np.array(features["carrier"].to_pylist()) == "AA"
        return np.where(bad, random.random(len(truth)) < 0.5, truth)

    said = first_alarm(world, spoil)
    first = said.culprits[0]
    assert (first.kind, first.name) == ("slice", "slice carrier=AA")
    assert 0.8 < first.facts["share"] < 1.2


def test_what_hits_all_alike_and_left_no_trace_has_no_culprit(world: ChangingWorld) -> None:
    random = np.random.default_rng(2)
    said = first_alarm(world, lambda _, truth: random.random(len(truth)) < 0.5)
    assert said.culprits == []
    assert "nothing changed that explains it" in said.title


def test_changes_of_code_declaration_and_rows_are_told_of_snapshots(world: ChangingWorld) -> None:
    features, labels = _day_tables(1)
    keep = world.context(1).monitoring_root
    Declarations(keep).keep("tiny", "a" * 64, {"train": {"seed": 1}})
    Declarations(keep).keep("tiny", "b" * 64, {"train": {"seed": 2}})

    def publish(day: int, rows: int, **entry: Any) -> None:
        made = world.entry.model_copy(update=entry)
        snapshot = world._store.write("tiny", at(day), features[:rows], labels[:0], made)
        world._store.publish("tiny", at(day), snapshot.id, "test")

    publish(1, 500, spec_digest="a" * 64, code_version="c" * 40)
    publish(2, 100, spec_digest="b" * 64, code_version="c" * 40)
    publish(3, 100, spec_digest="b" * 64, code_version="d" * 40)
    declaration, rows = found_changes(world.context(2), at(1), 2)
    assert (declaration.kind, declaration.facts["keys"]) == (
        "configuration",
        ["train.seed: 1 -> 2"],
    )
    assert "train.seed: 1 -> 2" in declaration.text
    assert rows.kind == "data"
    assert "has 100 rows" in rows.text
    [code] = found_changes(world.context(3), at(2), 2)
    assert (code.kind, code.name) == ("code", f"code {'c' * 12} -> {'d' * 12}")
    assert found_changes(world.context(3), at(3), 2) == []


def release(world: ChangingWorld, make_bundle: Any) -> None:
    """Put version 3, a weaker one, in the place of version 2."""
    ledger = Ledger(world.settings.ledger_url)
    later = {"cutoff": "2013-01-08T00:00:00Z"}
    given = {**candidate(world.settings, 3, make_bundle), **later}
    op = ledger.open_op(PROMOTE, "tiny", Candidate(**given), "ann", "test")
    ledger.advance(op.op_id, State.REGISTERED, {})
    evidence: dict[str, Any] = {"outcome": "passed", "candidate": {"log_loss": 0.4}}
    ledger.advance(op.op_id, State.GATED, evidence, base_epoch=1)
    ledger.advance(op.op_id, State.STAGED, {})
    ledger.commit(op.op_id, 1)


def test_a_release_that_is_worse_is_named_with_both_losses(
    world: ChangingWorld, make_bundle: Any
) -> None:
    random = np.random.default_rng(4)

    def worse(_: pa.Table, truth: Any) -> Any:
        if world.version == 2:  # this day was answered by it
            release(world, make_bundle)
            world.version = 3
        return np.where(random.random(len(truth)) < 0.3, ~truth, truth)

    for day in range(FIRST, LAST + 1):
        world.serve(day, worse if day >= BROKEN else None)
        if day >= BROKEN - 1:
            world.night(day, FIRST if day == BROKEN - 1 else None)
    said = diagnose_window(world.context(LAST))
    first = said.culprits[0]
    assert (first.kind, first.name) == ("version", "version 3")
    assert "version 3 serves in place of 2: released" in first.text
    assert "of the version before" in first.text


def test_a_version_that_serves_in_place_of_another_is_told(
    world: ChangingWorld, make_bundle: Any
) -> None:
    release(world, make_bundle)
    [change] = found_changes(world.context(TRAINED), at(TRAINED - 1), 2)
    assert (change.kind, change.name) == ("version", "version 3")
    assert "version 3 serves in place of 2: released" in change.text
    assert change.remedy == "ferryman rollback --model tiny"
    assert found_changes(world.context(TRAINED), at(TRAINED - 1), 3) == []
