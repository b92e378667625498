"""POST /v1/labels: the token, what is refused by row and field, and what is kept."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from logged_entries import FinishedHere
from served_here import ServedHere

from ferryman.runtime.label_token import make_label_token
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.serving.answering.metrics import ServingMetrics
from ferryman.serving.answering.prediction_app import PredictionApp
from ferryman.serving.labels.label_intake import LabelIntake
from ferryman.serving.labels.label_journal import LabelJournal
from ferryman.serving.labels.label_reading import read_posted
from ferryman.serving.log.writer import PredictionLog
from ferryman.serving.models.served_models import Pointer
from ferryman.spec.metrics import Task
from ferryman.spec.windows import Window

TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")


class Server(NamedTuple):
    """The application without a network; it serves `tiny`."""

    app: PredictionApp
    log: PredictionLog
    journal: LabelJournal
    folder: Path
    token: str

    def post(self, content: Any, token: str | None = None, **headers: str) -> httpx.Response:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = {"authorization": f"Bearer {self.token if token is None else token}", **headers}
        return asyncio.run(_post(self.app, body, headers))

    def labels(self, *rows: Any, **headers: str) -> httpx.Response:
        return self.post({"model": "tiny", "labels": list(rows)}, **headers)

    def kept(self, task: Task = "binary") -> list[dict[str, Any]]:
        """The rows of today, oldest first."""
        assert self.log.flush()
        now = datetime.now(UTC)
        span = Window(start=now - timedelta(hours=1), end=now + timedelta(hours=1))
        rows, _ = read_posted([LocalObjectStore(self.folder / "log")], "tiny", span, task)
        return list(rows.to_pylist())


async def _post(app: Any, body: bytes, headers: dict[str, str]) -> httpx.Response:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        return await client.post("/v1/labels", content=body, headers=headers)


@pytest.fixture
def task() -> str:
    return "binary"


@pytest.fixture
def server(tmp_path: Path, make_bundle: Any, make_task_bundle: Any, task: str) -> Iterator[Server]:
    bundles = tmp_path / "bundles"
    bundle = make_bundle(bundles) if task == "binary" else make_task_bundle(bundles, task)
    served = ServedHere(tmp_path / "serving", bundles)
    served.restore()
    served.load("tiny", Pointer(version=3, epoch=7, digest=bundle.digest), str(bundle.folder))
    make_label_token(tmp_path / "serving")
    token = (tmp_path / "serving" / "labels.token").read_text()
    metrics, journal = ServingMetrics(), LabelJournal(tmp_path / "log")
    log = PredictionLog(
        tmp_path / "log",
        metrics.dropped,
        finish=lambda: FinishedHere(tmp_path / "log"),
        beside=journal.roll,
    )
    log.start()
    intake = LabelIntake(journal, tmp_path / "serving")
    app = PredictionApp(served, log, metrics, labels=intake)
    yield Server(app, log, journal, tmp_path, token)
    app.close()
    log.close()
    journal.close()


def test_a_label_is_kept_as_it_was_posted(server: Server) -> None:
    began = datetime.now(UTC)
    answer = server.labels(
        {"entity_key": "a|1", "label": True, "event_time": "2026-01-02T03:04:05+01:00"},
        {"request_id": "r-7", "label": 0, "known_at": "2026-01-03T00:00:00Z"},
        {"entity_key": "b", "label": None},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["accepted"] == 3
    rows = {row["entity_key"] or row["request_id"]: row for row in server.kept()}
    assert rows["a|1"]["label"] is True
    assert rows["a|1"]["event_time"] == datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)
    assert (rows["r-7"]["label"], rows["r-7"]["entity_key"]) == (False, None)
    assert rows["r-7"]["known_at"] == datetime(2026, 1, 3, tzinfo=UTC)
    assert (rows["b"]["label"], rows["b"]["known_at"]) == (None, None)
    told = datetime.fromisoformat(answer.json()["received_at"])
    assert {row["received_at"] for row in rows.values()} == {told}
    assert began <= told <= datetime.now(UTC)


def test_without_the_token_nothing_is_read(server: Server) -> None:
    for token in ("", "wrong", server.token[:-1], f"{server.token}x"):
        answer = server.post({"model": "tiny", "labels": [{"entity_key": "a", "label": 1}]}, token)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert server.kept() == []


def test_a_server_without_a_token_takes_no_labels(server: Server) -> None:
    (server.folder / "serving" / "labels.sha256").unlink()
    assert server.labels({"entity_key": "a", "label": 1}).status_code == 503


GOOD = {"entity_key": "a", "label": True}


BAD_ROWS: list[tuple[Any, str | None, str]] = [
    ({"label": True}, None, "needs exactly one of 'entity_key' and 'request_id'"),
    ({**GOOD, "request_id": "r"}, None, "needs exactly one of"),
    ({"entity_key": "", "label": True}, "entity_key", "1 to 1000 characters"),
    ({"entity_key": 7, "label": True}, "entity_key", "1 to 1000 characters"),
    ({"entity_key": "k" * 1001, "label": True}, "entity_key", "1 to 1000 characters"),
    ({"request_id": "no id!", "label": True}, "request_id", "is no request id"),
    ({"entity_key": "b"}, "label", "is missing; null takes a label back"),
    ({"entity_key": "b", "label": "yes"}, "label", "must be true, false, 1, 0 or null"),
    ({"entity_key": "b", "label": 2}, "label", "must be true, false, 1, 0 or null"),
    ({"entity_key": "b", "label": 1.0}, "label", "must be true, false, 1, 0 or null"),
    ({**GOOD, "label": False}, "label", "another label than in row 0"),
    ({"entity_key": "b", "label": 1, "event_time": "2026-01-01"}, "event_time", "with a zone"),
    ({"entity_key": "b", "label": 1, "known_at": 5}, "known_at", "a time with a zone"),
    (
        {"entity_key": "b", "label": 1, "known_at": "2199-01-01T00:00:00Z"},
        "known_at",
        "lies in the future",
    ),
    (
        {"entity_key": "b", "label": 1, "event_time": "0001-01-01T00:00:00+14:00"},
        "event_time",
        "between 1970 and 2200",
    ),
    ({**GOOD, "weight": 2}, "weight", "unknown key"),
    ([1], None, "a label must be an object"),
]


def test_a_bad_row_is_named_and_nothing_of_its_request_is_kept(server: Server) -> None:
    for row, field, said in BAD_ROWS:
        answer = server.labels(GOOD, row)
        assert answer.status_code == 400, row
        assert said in answer.json()["error"]
        assert (answer.json()["row"], answer.json().get("field")) == (1, field)
    assert server.kept() == []


BAD_BODIES: list[tuple[bytes, int, str]] = [
    (b"", 400, "not JSON"),
    (b"[]", 400, "must be a JSON object"),
    (b'{"model": "tiny", "labels": []}', 400, "a list of at least one object"),
    (b'{"model": 3, "labels": [1]}', 400, "must be the name of a model"),
    (b'{"model": "tiny", "labels": [1], "x": 1}', 400, "unknown key in the body"),
    (b'{"model": "none", "labels": [{"entity_key": "a", "label": 1}]}', 404, "no such model"),
    (b'{"model": "tiny", "labels": [%b1]}' % (b"1," * 10_000), 400, "at most 10000"),
    (b" " * (9 * 1024 * 1024), 413, "larger than"),
]


def test_a_bad_body(server: Server) -> None:
    for body, status, said in BAD_BODIES:
        answer = server.post(body)
        assert (answer.status_code, said in answer.json()["error"]) == (status, True)
    assert server.labels(GOOD, **{"content-encoding": "gzip"}).status_code == 415
    assert server.kept() == []


@pytest.mark.parametrize(
    ("task", "good", "bad"),
    [
        ("multiclass", ["late", "gone", None], ["later", 1, True, 0.5]),
        ("regression", [1, 2.5, -3, None], [True, "1", [1]]),
    ],
)
def test_labels_are_those_of_the_task(
    server: Server, task: Task, good: list[Any], bad: list[Any]
) -> None:
    rows = [{"entity_key": f"k{place}", "label": label} for place, label in enumerate(good)]
    assert server.labels(*rows).status_code == 200
    assert [row["label"] for row in server.kept(task)] == good
    for label in bad:
        assert server.labels({"entity_key": "x", "label": label}).status_code == 400


def test_labels_of_another_task_are_counted_and_left_out(server: Server) -> None:
    assert server.labels(GOOD).status_code == 200
    assert server.log.flush()
    now = datetime.now(UTC)
    span = Window(start=now - timedelta(hours=1), end=now + timedelta(hours=1))
    rows, strange = read_posted(
        [LocalObjectStore(server.folder / "log")], "tiny", span, "regression"
    )
    assert (rows.num_rows, strange) == (0, 1)


def test_a_request_that_comes_again_is_no_newer_than_it_was(server: Server) -> None:
    """A client that had no answer sends again, after another has corrected the label."""
    own = {"x-request-id": "post-1"}
    first = server.labels(GOOD, **own).json()
    corrected = server.labels({**GOOD, "label": False}, **{"x-request-id": "post-2"}).json()
    assert server.labels(GOOD, **own).status_code == 200
    kept = {row["received_at"].isoformat(): row["label"] for row in server.kept()}
    moments = [first["received_at"], corrected["received_at"]]
    assert kept == {
        datetime.fromisoformat(moment).isoformat(): label
        for moment, label in zip(moments, (True, False), strict=True)
    }


def test_get_is_not_allowed_and_posted_labels_are_counted(server: Server) -> None:
    async def ask() -> tuple[int, str]:
        transport = httpx.ASGITransport(app=server.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            refused = await client.get("/v1/labels")
            return refused.status_code, (await client.get("/metrics")).text

    server.labels(GOOD, {"entity_key": "b", "label": 0})
    status, page = asyncio.run(ask())
    assert status == 405
    assert 'ferryman_posted_labels_total{model="tiny"} 2.0' in page
    assert 'ferryman_requests_total{code="2xx",model="tiny",route="labels"} 1.0' in page


def test_requests_that_wait_share_one_flush_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ferryman.serving.labels.label_files import pack_labels
    from ferryman.serving.labels.posted_rows import PostedRow
    from ferryman.serving.log.journal import Journal

    flushes: list[int] = []
    real = Journal.sync

    def counted(journal: Journal) -> None:
        flushes.append(journal.rows)
        real(journal)

    monkeypatch.setattr(Journal, "sync", counted)
    journal = LabelJournal(tmp_path)

    async def storm() -> None:
        frames = [
            pack_labels("tiny", "binary", [PostedRow(f"k{n}", None, None, True, None)], n, None)
            for n in range(200)
        ]
        await asyncio.gather(*(journal.keep(frame, 1) for frame in frames))

    asyncio.run(storm())
    journal.close()
    assert flushes[-1] == 200
    assert len(flushes) < 20
