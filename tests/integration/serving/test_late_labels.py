"""Fault 34: labels that are posted late, twice, out of order, for unknown ids, or never.

A real server answers and takes the labels; the steps join and measure. What the windows say in the
end is what all labels at once say.
"""

import asyncio
import math
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from running_server import RunningServer

from ferryman.data.versions.snapshots import SnapshotEntry, SnapshotStore
from ferryman.monitoring.joined_windows import JoinedWindows
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.run_store import run_folder
from ferryman.serving.labels.label_files import pack_labels
from ferryman.serving.labels.label_journal import LabelJournal
from ferryman.serving.labels.posted_rows import PostedRow
from ferryman.serving.log.finish import finish
from ferryman.settings import Settings
from ferryman.spec.data import FeaturesSpec
from ferryman.spec.model import DeclaredModel
from ferryman.spec.monitoring import MonitorSpec
from ferryman.spec.windows import DAY, Window, day_window
from ferryman.steps.contract import run_step

TIME = pa.timestamp("us", tz="UTC")
LABELS = pa.schema(
    [("entity_key", pa.string()), ("event_time", TIME), ("label", pa.bool_()), ("known_at", TIME)]
)
ANSWERED = 240


class Nights:
    """The monitoring of `tiny`, whose outcomes come by POST; its snapshots hold no labels."""

    def __init__(self, settings: Settings, rain: DeclaredModel) -> None:
        features = FeaturesSpec.model_validate(
            {
                "sql": "features.sql",
                "entity": ["carrier"],
                "columns": {
                    "carrier": {"type": "category"},
                    "distance": {"type": "number"},
                    "hour": {"type": "integer"},
                },
            }
        )
        monitor = MonitorSpec.model_validate(
            {"quality": {"metric": "log_loss", "window": "3d", "min_labels": 200}}
        )
        told = {"name": "tiny", "features": features, "monitor": monitor}
        spec = rain.spec.model_copy(update=told)
        self.model = rain.model_copy(update={"spec": spec})
        self.settings = settings
        self._runs = 0

    def run(self, window: Window, *steps: str, **params: Any) -> dict[str, StepResult]:
        self._publish(window)
        self._runs += 1
        folder = run_folder(self.settings.runs_root, "tiny", "monitoring", f"run-{self._runs}")
        results: dict[str, StepResult] = {}
        for step in steps:
            request = StepRequest(
                model="tiny",
                step=step,
                run_id=f"run-{self._runs}",
                run_uri=str(folder),
                window=window,
                params=params,
                spec_digest=self.model.digest,
                results=dict(results),
            )
            results[step] = run_step(request, self.model, self.settings)
        return results

    def joined(self, start: datetime, end: datetime) -> dict[str, dict[str, Any]]:
        table = JoinedWindows(self.settings.monitoring_root).read("tiny", start, end)
        return {row["entity_key"]: row for row in table.to_pylist()}

    def _publish(self, window: Window) -> None:
        store = SnapshotStore(LocalObjectStore(self.settings.data_root))
        features = pa.table(
            {"entity_key": [str(window)], "event_time": pa.array([window.start], TIME)}
        )
        entry = SnapshotEntry(reason="test", actor="test")
        snapshot = store.write("tiny", window, features, LABELS.empty_table(), entry)
        store.publish("tiny", window, snapshot.id, "test")


@pytest.fixture
def server(start_server: Any, make_bundle: Any) -> RunningServer:
    found: RunningServer = start_server(replicas=2)
    found.load(make_bundle(found.settings.bundles_root), 1)
    return found


@pytest.fixture
def today() -> Window:
    """The day of the server's clock, with time left in it for the test."""
    while (now := datetime.now(UTC)) > day_window(now).end - timedelta(minutes=3):
        time.sleep(1)
    return day_window(now)


def rows_of(today: Window) -> list[dict[str, Any]]:
    """Events of yesterday."""
    start = today.start - DAY
    return [
        {
            "carrier": ["AA", "B6", "UA"][number % 3],
            "distance": 100.0 + 10 * number,
            "hour": number % 24,
            "entity_key": f"e{number}",
            "event_time": (start + timedelta(minutes=number)).isoformat(),
        }
        for number in range(ANSWERED)
    ]


def truth(number: int) -> bool:
    return number % 3 == 0


def label(number: int, value: bool | None = None, **more: Any) -> dict[str, Any]:
    told = truth(number) if value is None else value
    return {"entity_key": f"e{number}", "label": told, **more}


def test_labels_late_twice_out_of_order_unknown_and_never(
    server: RunningServer, rain: DeclaredModel, today: Window
) -> None:
    nights, client, rows = Nights(server.settings, rain), server.client, rows_of(today)
    when = {number: {"event_time": rows[number]["event_time"]} for number in range(ANSWERED)}
    scores = client.predict("tiny", rows[:200]).scores

    # Few labels: never 0, never NaN.
    client.post_labels("tiny", [label(number, **when[number]) for number in range(12)])
    client.flush()
    found = nights.run(today, "join_labels", "monitor")
    quality: Any = found["monitor"].outputs["quality"]
    assert quality["value"] is None
    assert "not enough labels (n=12 < 200)" in quality["text"]
    assert (quality["predicted"], quality["labelled"], quality["coverage"]) == (200, 12, 0.06)

    # The same again, wrong ones and their corrections in the wrong order, unknown ids.
    now = datetime.now(UTC)
    newer, older = (now - timedelta(minutes=m) for m in (1, 5))
    client.post_labels("tiny", [label(number, **when[number]) for number in range(12)])
    late = [label(number, **when[number], known_at=newer.isoformat()) for number in range(12, 230)]
    client.post_labels("tiny", late)
    wrong = [
        label(number, not truth(number), **when[number], known_at=older.isoformat())
        for number in range(12, 100)
    ]
    client.post_labels("tiny", wrong)
    client.post_labels("tiny", [{"entity_key": f"nobody{n}", "label": True} for n in range(7)])
    client.post_labels("tiny", [{"entity_key": "e199", "label": None}])  # taken back
    client.flush()
    found = nights.run(today, "join_labels", "monitor")
    counts = found["join_labels"].outputs
    told = ("predicted", "matched", "unmatched", "unlabelled", "posted")
    assert {name: counts[name] for name in told} == {
        "predicted": 200,
        "matched": 199,  # all but e199
        "unmatched": 30 + 7,  # e200 to e229 are not predicted yet
        "unlabelled": 1,
        "posted": 12 + 12 + 218 + 88 + 7 + 1,
    }
    assert (counts["repeated"], counts["corrected"], counts["retracted"]) == (12, 88 + 1, 1)
    quality = found["monitor"].outputs["quality"]
    assert "not enough labels (n=199 < 200)" in quality["text"]

    # The predictions of e200 to e239 come after the labels of most of them.
    scores += client.predict("tiny", rows[200:]).scores
    client.flush()
    found = nights.run(today, "join_labels", "monitor")
    assert found["join_labels"].outputs["unmatched"] == 7
    quality = found["monitor"].outputs["quality"]
    labelled = [number for number in range(230) if number != 199]
    assert (quality["predicted"], quality["labelled"]) == (240, len(labelled))
    assert quality["value"] == pytest.approx(_log_loss(scores, labelled), rel=1e-6)

    # All came: what the windows say is the truth of the batch.
    client.post_labels(
        "tiny", [label(number, **when[number]) for number in (199, *range(230, 240))]
    )
    client.flush()
    quality = nights.run(today, "join_labels", "monitor")["monitor"].outputs["quality"]
    assert (quality["labelled"], quality["coverage"]) == (240, 1.0)
    assert quality["value"] == pytest.approx(_log_loss(scores, range(240)), rel=1e-6)
    joined = nights.joined(today.start, today.end)
    assert {key: row["label"] for key, row in joined.items()} == {
        f"e{number}": truth(number) for number in range(240)
    }


def _log_loss(scores: Any, numbers: Any) -> float:
    losses = [math.log(scores[n] if truth(n) else 1 - scores[n]) for n in numbers]
    return -sum(losses) / len(losses)


def test_a_request_id_names_its_prediction(
    server: RunningServer, rain: DeclaredModel, today: Window
) -> None:
    """Clients that know no keys: the prediction's own time, its request's id."""
    nights = Nights(server.settings, rain)
    row = {"carrier": "AA", "distance": 10.0, "hour": 3}
    url = f"{server.endpoint.url}/v1/models/tiny:predict"
    for name, rows in (("one", [row]), ("two", [row, row])):
        answer = httpx.post(
            url, json={"instances": rows}, headers={"x-request-id": name}, trust_env=False
        )
        assert answer.headers["x-request-id"] == name
    labels = [{"request_id": name, "label": True} for name in ("one", "two", "never")]
    server.client.post_labels("tiny", labels)
    server.client.flush()
    found = nights.run(today, "join_labels")["join_labels"]
    counts = found.outputs
    assert (counts["matched"], counts["unmatched"], counts["ambiguous"]) == (1, 1, 1)
    assert "1 name a request of several events" in found.text
    answered = {key: row["label"] for key, row in nights.joined(today.start, today.end).items()}
    assert answered == {"one#0": True}


def test_days_are_joined_again_when_something_came_late(
    server: RunningServer, rain: DeclaredModel, today: Window
) -> None:
    nights, rows = Nights(server.settings, rain), rows_of(today)[:10]
    yesterday, before = today.shifted(-DAY), today.shifted(-2 * DAY)
    for row in rows:  # events of the day before yesterday: due yesterday
        row["event_time"] = (before.start + timedelta(hours=1)).isoformat()
    server.client.predict("tiny", rows[:5])
    server.client.flush()
    _receive(server.settings.predictions_root, rows[:7], yesterday.start + timedelta(hours=2))
    found = nights.run(yesterday, "join_labels")["join_labels"].outputs
    assert (found["predicted"], found["matched"], found["unmatched"]) == (5, 5, 2)
    assert nights.run(today, "join_labels")["join_labels"].outputs["restated"] == []
    # The log of a server that was cut off comes a day later, and so do labels of yesterday.
    server.client.predict("tiny", rows[5:])
    server.client.flush()
    _receive(server.settings.predictions_root, rows[7:9], yesterday.start + timedelta(hours=3))
    result = nights.run(today, "join_labels")["join_labels"]
    assert result.outputs["restated"] == [yesterday.key]
    assert f"1 earlier days joined again ({yesterday.start:%Y-%m-%d})" in result.text
    joined = nights.joined(yesterday.start, today.end)
    assert [row["label"] for row in joined.values()].count(True) == 9
    assert joined["e9"]["label"] is None
    assert nights.run(today, "join_labels")["join_labels"].outputs["restated"] == []


def _receive(root: Path, rows: list[dict[str, Any]], moment: datetime) -> None:
    """Labels of these events as a server keeps them that had them at a moment."""
    told = [PostedRow(row["entity_key"], None, None, True, None) for row in rows]
    times = [datetime.fromisoformat(row["event_time"]) for row in rows]
    micros = [round(time.timestamp() * 1e6) for time in times]
    told = [one._replace(event_time=at) for one, at in zip(told, micros, strict=True)]
    journal = LabelJournal(root)
    frame = pack_labels("tiny", "binary", told, round(moment.timestamp() * 1e6), None)
    asyncio.run(journal.keep(frame, len(told)))
    journal.close()
    assert journal.roll(at_once=True)
    assert finish(root).problems == []


def test_a_backfill_joins_in_a_place_of_its_own(
    server: RunningServer, rain: DeclaredModel, today: Window
) -> None:
    nights, rows = Nights(server.settings, rain), rows_of(today)[:10]
    yesterday, before = today.shifted(-DAY), today.shifted(-2 * DAY)
    for row in rows:
        row["event_time"] = (before.start + timedelta(hours=1)).isoformat()
    server.client.predict("tiny", rows)
    server.client.flush()
    _receive(server.settings.predictions_root, rows[:4], yesterday.start + timedelta(hours=2))
    _receive(server.settings.predictions_root, rows[4:6], today.start)
    for day in (yesterday, today):
        nights.run(day, "join_labels")
    live = JoinedWindows(server.settings.monitoring_root)
    files = [live.file("tiny", day) for day in (yesterday, today)]
    kept = [file.stat().st_mtime_ns for file in files]
    found = nights.run(today, "join_labels", backfill=True)["join_labels"]
    own = Path(str(found.outputs["joined"])).parents[2]
    assert own != server.settings.monitoring_root and own.is_dir()
    start = yesterday.start
    assert (
        JoinedWindows(own)
        .read("tiny", start, today.end)
        .equals(live.read("tiny", start, today.end))
    )
    assert [file.stat().st_mtime_ns for file in files] == kept
