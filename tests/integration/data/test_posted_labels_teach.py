"""A model whose outcomes come by POST alone: its windows hold them, so that it can be trained."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.serving.labels.label_files import pack_labels
from ferryman.serving.labels.label_journal import LabelJournal
from ferryman.serving.labels.posted_rows import PostedRow
from ferryman.serving.log.finish import finish
from ferryman.settings import Settings
from ferryman.spec.loader import load_model
from ferryman.spec.model import DeclaredModel
from ferryman.spec.windows import DAY, Window, day_window, format_time
from ferryman.steps.journey import Journey


@pytest.fixture
def journey(rain: DeclaredModel, rain_hours: Any, tmp_path: Any) -> Journey:
    file = rain.folder / "model.yaml"
    text = file.read_text()
    assert "sql: labels.sql" in text
    file.write_text(text.replace("sql: labels.sql", "posted: true"))
    (rain.folder / "labels.sql").unlink()
    hours = rain_hours(4)
    folder = tmp_path / "raw" / "rain"
    folder.mkdir(parents=True)
    for month, rows in hours.groupby(hours["observed_at"].dt.strftime("%Y-%m")):
        rows.to_parquet(folder / f"hours_{month}.parquet", index=False)
    settings = Settings(
        home=tmp_path / "home", zoo=rain.folder.parent, source_root=tmp_path / "raw", cpus=1
    )
    return Journey(settings, load_model(rain.folder))


def receive(settings: Settings, rows: list[PostedRow], moment: datetime) -> None:
    root = settings.predictions_root
    journal = LabelJournal(root)
    frame = pack_labels("rain", "binary", rows, round(moment.timestamp() * 1e6), None)
    asyncio.run(journal.keep(frame, len(rows)))
    journal.close()
    assert journal.roll(at_once=True)
    assert finish(root).problems == []


def label(settings: Settings, journey: Journey, day: Window) -> dict[str, Any]:
    store = SnapshotStore(LocalObjectStore(settings.data_root))
    for _ in journey.run("ingest", window=day, run_id=f"run {datetime.now(UTC).isoformat()}"):
        continue
    snapshot = store.current("rain", day)
    assert snapshot is not None
    return {row["entity_key"]: row["label"] for row in store.read_labels(snapshot).to_pylist()}


def test_a_window_holds_what_was_posted_of_the_events_that_are_due(
    journey: Journey, rain_hours: Any
) -> None:
    settings = journey.settings
    first = rain_hours(1)["observed_at"].min().to_pydatetime()
    events = day_window(first.astimezone(UTC) if first.tzinfo else first.replace(tzinfo=UTC))
    due, later = events.shifted(DAY), events.shifted(2 * DAY)
    names = [f"north|{format_time(events.start + timedelta(hours=hour))}" for hour in range(6)]
    rows = [PostedRow(name, None, None, True, None) for name in names]
    receive(settings, rows[:4], events.start + timedelta(hours=9))  # on the day itself
    receive(settings, [rows[3]._replace(label=False)], due.start + timedelta(hours=1))
    receive(settings, [rows[0]._replace(label=None)], due.start + timedelta(hours=2))
    receive(settings, rows[4:], later.start + timedelta(hours=1))  # too late for its window
    assert label(settings, journey, events) == {}
    expected = {names[0]: None, names[1]: True, names[2]: True, names[3]: False}
    assert label(settings, journey, due) == expected
    assert label(settings, journey, later) == {}
    assert label(settings, journey, due) == expected  # however late it is made again
