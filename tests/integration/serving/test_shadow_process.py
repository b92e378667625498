"""A shadow by itself: what it is sent by a mirror, what it tells, and how it writes its log."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow.compute as pc
import pytest

from ferryman.errors import IntegrityBroken
from ferryman.runtime.channel_path import channel_path, make_channel_folder, shadow_path
from ferryman.runtime.traffic import Traffic
from ferryman.serving.front.shadow_process import ShadowPlace
from ferryman.serving.front.shadows import Shadows
from ferryman.serving.log.journal import JOURNALS
from ferryman.serving.log.prediction_log import read_predictions
from ferryman.serving.log.writer import PredictionLog
from ferryman.serving.protocols.routes import Route
from ferryman.serving.shadow.unix_mirror import UnixMirror

ROUTE = Route("predict", "v1", "predict", "tiny")
FAR = 60.0


@pytest.fixture
def place(tmp_path: Path, make_bundle: Any) -> tuple[ShadowPlace, Any]:
    """Where a shadow of `tiny` finds its copy, and the bundle."""
    bundle = make_bundle(tmp_path / "bundles")
    shutil.copytree(bundle.folder, tmp_path / "root" / "models" / "tiny" / bundle.digest)
    make_channel_folder(channel_path(tmp_path / "root"))
    return ShadowPlace(tmp_path / "root", tmp_path / "predictions"), bundle


def _traffic(digest: str, **changed: Any) -> Traffic:
    told: dict[str, Any] = {"op": "a" * 64, "variant": "shadow", "version": 2, "weight": 1.0}
    told |= {"digest": digest, "base_epoch": 1, "fence": 1, "stage": 0, "lease": FAR}
    return Traffic(**{**told, **changed})


@asynccontextmanager
async def _following(place: ShadowPlace, digest: str) -> AsyncIterator[tuple[Shadows, UnixMirror]]:
    shadows = Shadows(place)
    mirror = UnixMirror(shadow_path(channel_path(place.root), "tiny"))
    try:
        await shadows.follow("tiny", _traffic(digest), time.monotonic() + FAR)
        yield shadows, mirror
    finally:
        mirror.close()
        await shadows.end_all(20)


async def _wait_for(shadows: Shadows, condition: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + 20
    while True:
        figures = (await shadows.figures("tiny"))[-1]
        if condition(figures):
            return figures
        assert time.monotonic() < deadline, figures
        await asyncio.sleep(0.01)


def _body(rows: list[Any]) -> bytes:
    return orjson.dumps({"instances": rows})


def test_what_it_cannot_score_is_its_error(place: Any) -> None:
    told, bundle = place

    async def live() -> None:
        async with _following(told, bundle.digest) as (shadows, mirror):
            bad = _body([{**bundle.rows[0], "hour": "noon"}])
            for body in (_body(bundle.rows), bad, b"{", bad, _body(bundle.rows[:1])):
                assert mirror.copy(b"r", ROUTE, body, None, b"")
            figures = await _wait_for(shadows, lambda found: found.requests == 5)
            assert (figures.errors, figures.scored) == (3, 2)
            one, last = figures.scores
            assert min(abs(one - output) for output in bundle.outputs) < 1e-5
            assert last == pytest.approx(bundle.outputs[0], abs=1e-5)

    asyncio.run(live())


def test_what_makes_no_sense_is_nobodys_error(place: Any) -> None:
    told, bundle = place

    async def live() -> None:
        async with _following(told, bundle.digest) as (shadows, mirror):
            senseless = Route("predict", "v9", "predict", "tiny")  # type: ignore[arg-type]
            assert mirror.copy(b"r", senseless, b"{}", None, b"")
            assert mirror.copy(b"r", ROUTE, _body(bundle.rows[:1]), None, b"")
            figures = await _wait_for(shadows, lambda found: found.requests > 0)
            assert (figures.requests, figures.errors) == (1, 0)

    asyncio.run(live())


def test_large_bodies_that_wait_are_few(place: Any) -> None:
    """Else a stopped shadow holds them all in memory."""
    told, bundle = place
    large = _body(bundle.rows * 200)

    async def live() -> None:
        async with _following(told, bundle.digest) as (shadows, mirror):
            # Nobody reads as long as this loop, which the shadow needs not, sends: it is quick.
            sent = [mirror.copy(b"r", ROUTE, large, None, b"") for _ in range(200)]
            assert 1 <= sum(sent) < 100
            await _wait_for(shadows, lambda found: found.requests == sum(sent))

    asyncio.run(live())


def test_what_it_logs_is_left_to_replicas(place: Any) -> None:
    told, bundle = place
    told.predictions.mkdir()
    if os.geteuid() == 0:  # as where replicas are in containers, of a user of their own
        os.chown(told.predictions, 12345, 12345)

    async def live() -> None:
        async with _following(told, bundle.digest) as (shadows, mirror):
            assert mirror.copy(b"r", ROUTE, _body(bundle.rows[:3]), None, b"")
            assert mirror.copy(b"s", ROUTE, _body(bundle.rows[:1]), None, b"order 7")
            await _wait_for(shadows, lambda found: found.requests == 2)
            await shadows.flush()

    asyncio.run(live())
    assert (told.predictions / JOURNALS).stat().st_uid == told.predictions.stat().st_uid
    assert len(list((told.predictions / JOURNALS).glob("*.journal"))) == 1
    replica = PredictionLog(told.predictions, print, replica="r1")
    replica.start()
    assert replica.flush()
    replica.close()
    now = datetime.now(UTC)
    day = timedelta(days=1)
    table = read_predictions(told.predictions, "tiny", now - day, now + day)
    assert table["variant"].to_pylist() == ["shadow"] * 4
    keys = table.filter(pc.equal(table["request_id"], "s"))["entity_key"].to_pylist()
    assert keys == ["order 7"]


def test_another_candidate_takes_its_place(place: Any, make_bundle: Any, tmp_path: Path) -> None:
    told, bundle = place
    other = make_bundle(tmp_path / "bundles", 10.0)
    copies = told.root / "models" / "tiny"
    shutil.copytree(other.folder, copies / other.digest)

    async def live() -> None:
        async with _following(told, bundle.digest) as (shadows, mirror):
            assert mirror.copy(b"r", ROUTE, _body(bundle.rows[:1]), None, b"")
            until = time.monotonic() + FAR
            await shadows.follow("tiny", _traffic(other.digest, op="b" * 64), until)
            assert (await shadows.figures("tiny"))[-1].requests == 0
            mirror.close()  # a replica has a mirror for each share; the next copy connects anew
            await asyncio.sleep(0.2)
            assert mirror.copy(b"r", ROUTE, _body(bundle.rows[:1]), None, b"")
            figures = await _wait_for(shadows, lambda found: found.requests == 1)
            assert figures.scores == pytest.approx(other.outputs[:1], abs=1e-5)
            shutil.rmtree(copies / bundle.digest)
            # One that cannot be loaded leaves the one that is there alone.
            with pytest.raises(IntegrityBroken):
                await shadows.follow("tiny", _traffic(bundle.digest), until)
            assert mirror.copy(b"r", ROUTE, _body(bundle.rows[:1]), None, b"")
            await _wait_for(shadows, lambda found: found.requests == 2)
            assert shadows.is_ready("tiny")

    asyncio.run(live())
