"""An accepted label is never lost: replicas are killed, disks are full, buckets are away."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from running_server import RunningServer, starting
from services.s3_server import S3Server
from small_disk import disk_of

from ferryman.runtime.connections import GivenConnections
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.prediction_places import prediction_places
from ferryman.serving.labels.label_reading import read_posted
from ferryman.serving.log.finish import finish
from ferryman.settings import Settings
from ferryman.spec.windows import Window


def kept(places: Any) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    span = Window(start=now - timedelta(hours=2), end=now + timedelta(hours=1))
    rows, _ = read_posted(places, "tiny", span, "binary")
    return list(rows.to_pylist())


class Poster(threading.Thread):
    """Posts one label after the other; `accepted` are those that the server said it has."""

    def __init__(self, server: RunningServer, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.accepted: list[str] = []
        self.failed = 0
        self.stopping = threading.Event()
        self._url = f"{server.endpoint.url}/v1/labels"
        self._token = server.endpoint.label_token_file.read_text()

    def run(self) -> None:
        headers = {"authorization": f"Bearer {self._token}"}
        with httpx.Client(trust_env=False, headers=headers, timeout=10) as client:
            number = 0
            while not self.stopping.is_set():
                number += 1
                key = f"{self.name}-{number}"
                body = {"model": "tiny", "labels": [{"entity_key": key, "label": True}]}
                try:
                    answer = client.post(self._url, json=body)
                except httpx.TransportError:
                    self.failed += 1
                    continue
                assert answer.status_code == 200, answer.text
                self.accepted.append(key)


def _is_whole(server: RunningServer, killed: set[int]) -> bool:
    pids = set(server.pids().values())
    return len(pids) == 2 and not pids & killed and server.deployer.status().state == "ready"


def test_no_accepted_label_is_lost_by_kills(
    start_server: Any, make_bundle: Any, wait_for: Any
) -> None:
    server = start_server(replicas=2)
    server.load(make_bundle(server.settings.bundles_root), 1)
    posters = [Poster(server, f"p{number}") for number in range(4)]
    for poster in posters:
        poster.start()
    kills = 0
    for _ in range(5):
        before = [len(poster.accepted) for poster in posters]
        wait_for(
            lambda before=before: all(
                len(p.accepted) > n + 10 for p, n in zip(posters, before, strict=True)
            )
        )
        killed = set(list(server.pids().values())[: 1 + kills % 2])
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
            kills += 1
        wait_for(lambda killed=killed: _is_whole(server, killed), 60)
    for poster in posters:
        poster.stopping.set()
    for poster in posters:
        poster.join()
    accepted = [key for poster in posters for key in poster.accepted]
    server.client.flush()
    found = [
        row["entity_key"] for row in kept([LocalObjectStore(server.settings.predictions_root)])
    ]
    assert len(accepted) > 200 and kills >= 5
    assert set(accepted) <= set(found)
    # What was kept and not answered is at most what was on its way at a kill.
    assert len(found) == len(set(found)) <= len(accepted) + sum(p.failed for p in posters)
    assert not list((server.settings.predictions_root / ".journals").glob("*.labels"))


def test_the_next_replica_finishes_what_a_killed_one_has_left(
    start_server: Any, make_bundle: Any, wait_for: Any
) -> None:
    server = start_server(replicas=1)
    server.load(make_bundle(server.settings.bundles_root), 1)
    server.client.post_labels("tiny", [{"entity_key": "a", "label": 0}])
    places = [LocalObjectStore(server.settings.predictions_root)]
    assert kept(places) == []
    os.kill(server.pids()["r1"], signal.SIGKILL)
    wait_for(lambda: [row["entity_key"] for row in kept(places)] == ["a"], 60)


@pytest.fixture
def server_on_a_small_disk(tmp_path: Path, free_ports: Any) -> Iterator[RunningServer]:
    with disk_of(8 << 20, tmp_path / "disk") as disk, starting(disk, free_ports) as start:
        yield start(replicas=1)


def test_a_full_disk_is_said_and_other_routes_go_on(
    server_on_a_small_disk: RunningServer, make_bundle: Any, tmp_path: Path
) -> None:
    server = server_on_a_small_disk
    bundle = make_bundle(server.settings.bundles_root)
    server.load(bundle, 1)
    server.client.post_labels("tiny", [{"entity_key": "before", "label": 0}])
    ballast = tmp_path / "disk" / "ballast"
    with pytest.raises(OSError, match="No space left"), ballast.open("wb", 0) as file:
        while True:
            file.write(b"x" * 4096)
    rows: list[dict[str, Any]] = [
        {"entity_key": f"k{number}" * 20, "label": 1} for number in range(1000)
    ]
    headers = {"authorization": f"Bearer {server.endpoint.label_token_file.read_text()}"}
    answers = [
        httpx.post(
            f"{server.endpoint.url}/v1/labels",
            json={"model": "tiny", "labels": rows},
            headers=headers,
            trust_env=False,
        )
        for _ in range(3)
    ]
    assert {answer.status_code for answer in answers} == {507}
    assert {answer.headers["retry-after"] for answer in answers} == {"10"}
    assert server.client.predict("tiny", bundle.rows).scores == pytest.approx(
        bundle.outputs, abs=1e-5
    )
    ballast.unlink()
    assert server.client.post_labels("tiny", rows)["accepted"] == 1000
    server.client.flush()
    found = [
        row["entity_key"] for row in kept([LocalObjectStore(server.settings.predictions_root)])
    ]
    assert sorted(found) == sorted(["before", *(row["entity_key"] for row in rows)])


def test_labels_go_to_the_bucket_with_the_log(
    tmp_path: Path, free_ports: Any, make_bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with S3Server() as s3:
        connection = s3.connection("lake/predictions")
        settings = Settings(home=tmp_path / "home", predictions_connection="lake")
        places = prediction_places(
            settings, GivenConnections(s3.connection("lake/predictions", bucket=False))
        )
        with starting(tmp_path, free_ports) as start:
            server = start(replicas=1)
            server.load(make_bundle(server.settings.bundles_root), 1)
            server.client.post_labels("tiny", [{"entity_key": "a", "label": 1}])
            server.client.flush()
            root = server.settings.predictions_root
            assert len(kept([LocalObjectStore(root)])) == 1
        from ferryman.runtime.s3_object_store import S3ObjectStore

        store = S3ObjectStore(connection)
        finish(root, lambda: store)
        assert [key.split("/")[:2] for key in store.keys("tiny")] == [["tiny", "labels"]]
        assert kept([LocalObjectStore(root)]) == []
        assert [row["entity_key"] for row in kept([LocalObjectStore(root), store])] == ["a"]
        assert len(places) == 2


def test_a_bucket_that_is_away_keeps_labels_here(tmp_path: Path) -> None:
    """The journal is finished all the same, and read from where it waits."""
    import asyncio

    from ferryman.serving.labels.label_files import pack_labels
    from ferryman.serving.labels.label_journal import LabelJournal
    from ferryman.serving.labels.posted_rows import PostedRow

    journal = LabelJournal(tmp_path)
    frame = pack_labels(
        "tiny", "binary", [PostedRow("a", None, None, True, None)], time.time_ns() // 1000, None
    )
    asyncio.run(journal.keep(frame, 1))
    journal.close()
    assert journal.roll(at_once=True)

    def away() -> Any:
        raise OSError("the bucket is away")

    result = finish(tmp_path, away)
    assert result.problems and result.lost == 0
    assert [row["entity_key"] for row in kept([LocalObjectStore(tmp_path)])] == ["a"]


def test_a_replica_takes_labels_without_pyarrow(start_server: Any, make_bundle: Any) -> None:
    server = start_server(replicas=1)
    server.load(make_bundle(server.settings.bundles_root), 1)
    assert server.client.post_labels("tiny", [{"entity_key": "a", "label": 0}])["accepted"] == 1
    maps = Path(f"/proc/{server.pids()['r1']}/maps").read_text()
    assert "onnxruntime" in maps
    assert "pyarrow" not in maps and "pandas" not in maps
