"""Requests that are there together are scored in one run; a lone one is not kept waiting."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import Got, ask_within
from served_here import ServedHere

from ferryman.serving.answering.gathering import MOST_ROWS, Gathering
from ferryman.serving.answering.metrics import ServingMetrics
from ferryman.serving.answering.prediction_app import PredictionApp
from ferryman.serving.log.writer import PredictionLog
from ferryman.serving.models.onnx_model import Identity, OnnxModel
from ferryman.serving.models.pace import Pace
from ferryman.serving.models.rows import RowError
from ferryman.serving.models.served_models import Pointer

V1 = "/v1/models/tiny:predict"


class Serving:
    def __init__(self, folder: Path, bundle: Any) -> None:
        self.bundle = bundle
        self.metrics = ServingMetrics()
        self.served = ServedHere(folder / "serving", folder / "bundles")
        self.served.restore()
        pointer = Pointer(version=3, epoch=7, digest=bundle.digest)
        self.served.load("tiny", pointer, str(bundle.folder))
        self.log = PredictionLog(folder / "log", self.metrics.dropped)
        self.log.start()
        self.app = PredictionApp(self.served, self.log, self.metrics)
        model = self.served.get("tiny")
        assert model is not None
        self.model = model

    def runs(self) -> list[str]:
        page = self.metrics.page().decode().splitlines()
        wanted = ("ferryman_batch_rows_count", "ferryman_batch_rows_sum")
        return [line.split(" ")[1] for line in page if line.startswith(wanted)]

    def ask_together(self, bodies: Sequence[Any]) -> list[Got]:
        async def both() -> list[Got]:
            asked = [ask_within(self.app, V1, [json.dumps(body).encode()]) for body in bodies]
            return list(await asyncio.gather(*asked))

        return asyncio.run(both())


@pytest.fixture
def serving(tmp_path: Path, make_bundle: Any) -> Iterator[Serving]:
    serving = Serving(tmp_path, make_bundle(tmp_path / "bundles"))
    yield serving
    serving.app.close()
    serving.log.close()


def test_requests_of_one_turn_share_a_run_and_get_their_own_answers(serving: Serving) -> None:
    serving.model.pace = Pace(gathers=True)
    rows, outputs = serving.bundle.rows[:MOST_ROWS], serving.bundle.outputs[:MOST_ROWS]
    bad = {"instances": [{**rows[0], "hour": "x"}]}
    good = [{"instances": [row]} for row in rows]
    answers = serving.ask_together([*good, bad, {"instances": rows}])
    for answer, output in zip(answers, outputs, strict=False):
        assert json.loads(answer.body)["predictions"] == pytest.approx([output], abs=1e-5)
    assert answers[-2].status == 400 and json.loads(answers[-2].body)["field"] == "hour"
    assert json.loads(answers[-1].body)["predictions"] == pytest.approx(outputs, abs=1e-5)
    assert serving.runs() == ["1.0", f"{2.0 * len(rows)}"]
    assert serving.metrics.waiting_rows == serving.metrics.in_flight == 0


@pytest.mark.parametrize(("gathers", "together"), [(True, 1), (False, 3)])
def test_a_lone_request_and_a_quick_model_are_scored_at_once(
    serving: Serving, gathers: bool, together: int
) -> None:
    serving.model.pace = Pace(gathers=gathers)
    answers = serving.ask_together([{"instances": serving.bundle.rows[:1]}] * together)
    assert [answer.status for answer in answers] == [200] * together
    assert serving.runs() == [f"{together}.0", f"{together}.0"]


def test_the_short_cut_shares_a_run_where_there_are_several_clients(serving: Serving) -> None:
    serving.model.pace = Pace(gathers=True)
    row, many = (
        json.dumps({"instances": rows}).encode()
        for rows in (serving.bundle.rows[:1], serving.bundle.rows[:1] * (MOST_ROWS + 1))
    )
    told: list[bytes | None] = []

    def ask(body: bytes, clients: int) -> Any:
        return serving.app.answer_at_once(V1.encode(), [], body, clients, told.append)

    async def turn() -> None:
        assert b" 200 OK" in ask(row, 1)  # its only client waits for it
        assert b" 200 OK" in ask(many, 32)  # a run of its own costs it little
        assert serving.runs() == ["2.0", f"{MOST_ROWS + 2.0}"]
        first, second = ask(row, 32), ask(row, 32)
        assert told == [] and callable(first) and callable(second)
        await asyncio.sleep(0)
        assert len(told) == 2 and serving.runs()[0] == "3.0"
        ask(row, 32)()  # whoever cannot wait is answered now
        assert len(told) == 3

    asyncio.run(turn())
    assert all(answer is not None and b" 200 OK" in answer for answer in told)
    assert serving.metrics.waiting_rows == 0


def test_what_a_request_waited_in_a_turn_of_the_loop_is_in_its_latency(serving: Serving) -> None:
    body = json.dumps({"instances": serving.bundle.rows[:1]}).encode()

    async def ask(waits: float) -> float:
        for _ in range(2):
            serving.app.answer_at_once(V1.encode(), [], body, 2, lambda _: None)
            time.sleep(waits)  # what the loop does between the two
        await asyncio.sleep(0)
        lines = serving.metrics.page().decode().splitlines()
        return next(
            float(x.split()[1]) for x in lines if x.startswith("ferryman_request_seconds_sum")
        )

    first = asyncio.run(ask(0.05))
    assert first > 0.05
    assert asyncio.run(ask(0.0)) < first + 0.05  # and a new turn begins anew


def test_a_long_run_is_made_beside_the_loop(serving: Serving) -> None:
    serving.model.pace = Pace(one=1.0)

    async def both() -> tuple[Got, int]:
        body = json.dumps({"instances": serving.bundle.rows}).encode()
        task = asyncio.ensure_future(ask_within(serving.app, V1, [body]))
        await asyncio.sleep(0)
        waiting = serving.metrics.waiting_rows
        return await task, waiting

    answer, waiting = asyncio.run(both())
    assert json.loads(answer.body)["predictions"] == pytest.approx(serving.bundle.outputs, abs=1e-5)
    assert (waiting, serving.metrics.waiting_rows) == (len(serving.bundle.rows), 0)


class _Spoilt(OnnxModel):
    """Gives no number where a distance is beyond the world, as a model that overflows would."""

    def run(self, feed: Any, size: int) -> Any:
        numbers = [cells for cells in feed.values() if cells.dtype != np.object_]
        if max(float(cells.max()) for cells in numbers) > 1e6:
            raise RowError("the model gives no finite score for this row", row=0)
        return super().run(feed, size)


def test_rows_without_an_answer_spoil_no_other_request(tmp_path: Path, make_bundle: Any) -> None:
    bundle = make_bundle(tmp_path)
    model = _Spoilt(bundle.folder, Identity("tiny", 1, 1, bundle.digest))
    rows = [bundle.rows[0], {**bundle.rows[0], "distance": 1e7}]
    feeds = [model.schema.feed(model.schema.read_rows([row])) for row in rows]

    async def both() -> list[Any]:
        gathering = Gathering(ServingMetrics())
        asked = [gathering.score(model, feed, 1) for feed in feeds]
        return await asyncio.gather(*asked, return_exceptions=True)

    good, bad = asyncio.run(both())
    assert good == pytest.approx(bundle.outputs[:1], abs=1e-5)
    assert isinstance(bad, RowError) and "no finite score" in bad.text


def test_who_cannot_be_answered_keeps_nobody_from_an_answer(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    schema = serving.model.schema
    feed = schema.feed(schema.read_rows(serving.bundle.rows[:1]))
    told: list[Any] = []

    def fails(_: Any) -> None:
        raise RuntimeError("its connection is broken")

    async def turn() -> None:
        gathering = Gathering(serving.metrics)
        for done in (fails, told.append):
            gathering.add(serving.model, feed, 1, done)
        await asyncio.sleep(0)

    asyncio.run(turn())
    assert told == [pytest.approx(serving.bundle.outputs[:1], abs=1e-5)]
    assert "its connection is broken" in caplog.text
