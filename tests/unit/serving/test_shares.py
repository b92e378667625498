"""Who is drawn, what is counted of both, and when it ends: within one replica."""

import asyncio
import gc
import json
import re
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import ask_within
from line_candidates import LINE, make_line, share_of
from served_here import ServedHere

from ferryman.errors import IntegrityBroken, Superseded
from ferryman.runtime.traffic import Traffic, VariantFigures, merged
from ferryman.serving.answering.metrics import ServingMetrics
from ferryman.serving.answering.prediction_app import PredictionApp
from ferryman.serving.answering.shares import Share, Shares
from ferryman.serving.answering.tally import Tally
from ferryman.serving.log.writer import Entry, PredictionLog
from ferryman.serving.models.pace import Pace
from ferryman.serving.models.served_models import Pointer
from ferryman.serving.protocols.routes import Route

V1 = "/v1/models/line:predict"


class Copies:
    """A mirror that takes every second copy."""

    def __init__(self) -> None:
        self.copied: list[tuple[bytes, str, bytes, bytes]] = []
        self.asked = 0

    def copy(
        self, request_id: bytes, route: Route, body: bytes, json_length: int | None, entity: bytes
    ) -> bool:
        assert json_length is None
        self.asked += 1
        if self.asked % 2:
            self.copied.append((request_id, route.model, body, entity))
        return bool(self.asked % 2)

    def close(self) -> None:
        self.asked = -1


class Logged(PredictionLog):
    """Keeps entries where the test can see them."""

    def put(self, entry: Entry) -> None:
        self.entries.append(entry)

    entries: list[Entry]


class Replica:
    """One replica's models, shares and application, with y = 2x at epoch 1."""

    def __init__(self, folder: Path) -> None:
        self.bundles, self.mirror = folder / "bundles", Copies()
        self.served = ServedHere(folder / "serving", self.bundles)
        self.served.restore()
        champion = make_line(self.bundles)
        pointer = Pointer(version=1, epoch=1, digest=champion.digest)
        self.served.load(LINE, pointer, str(champion.folder))
        self.shares = Shares(self.served, lambda _: self.mirror)
        self.metrics = ServingMetrics()
        self.log = Logged(folder / "log", self.metrics.dropped)
        self.log.entries = []
        self.app = PredictionApp(self.served, self.log, self.metrics, shares=self.shares)

    def expose(self, slope: float, kind: Any = "line", **told: Any) -> Share:
        bundle = make_line(self.bundles, slope, kind)
        self.served.copies.bring(LINE, str(bundle.folder), bundle.digest)
        traffic = share_of(bundle, **told)
        self.shares.prepare(LINE, traffic)
        assert self.shares.expose(LINE, traffic, time.monotonic() + traffic.lease)
        return self.share

    @property
    def share(self) -> Share:
        share = self.shares.live(LINE)
        assert share is not None
        return share

    def at_once(self, rows: Any, clients: int = 1, headers: Any = ()) -> bytes:
        """The answer of the short cut, given at once or at the end of the turn."""

        async def ask() -> bytes:
            told: list[bytes | None] = []
            body = json.dumps({"instances": rows}).encode()
            answer = self.app.answer_at_once(V1.encode(), headers, body, clients, told.append)
            await asyncio.sleep(0)
            found = answer if isinstance(answer, bytes) else told[0]
            assert found is not None
            return found

        return asyncio.run(ask())


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path)
    yield replica
    replica.app.close()


def variant_of(answer: bytes) -> str:
    return answer.partition(b"x-model-variant: ")[2].partition(b"\r\n")[0].decode()


def test_the_draw_is_even_and_a_larger_weight_keeps_those_that_were_drawn(replica: Replica) -> None:
    keys = [b"UA|%d" % number for number in range(20_000)]
    drawn: set[bytes] = set()
    for stage, weight in enumerate((0.001, 0.05, 0.5, 1.0)):
        traffic = share_of(make_line(replica.bundles, 3.0 + stage), weight=weight)
        champion = replica.served.get(LINE)
        assert champion is not None
        share = Share(traffic, 1.0, champion)
        now = {key for key in keys if share.takes(key)}
        assert abs(len(now) / len(keys) - weight) < 0.01 and drawn <= now
        drawn = now
    other = Share(traffic.model_copy(update={"op": "77" * 32, "weight": 0.5}), 1.0, champion)
    half = Share(traffic.model_copy(update={"weight": 0.5}), 1.0, champion)
    both = sum(other.takes(key) and half.takes(key) for key in keys)
    assert abs(both / len(keys) - 0.25) < 0.02  # another operation draws anew


@pytest.mark.parametrize("clients", [1, 2], ids=["alone", "gathered"])
def test_both_ways_answer_alike_and_arms_stay_apart(replica: Replica, clients: int) -> None:
    share = replica.expose(3.0)
    for model in (share.model, replica.served.get(LINE)):
        assert model is not None
        model.pace = Pace(gathers=True)
    rows = [{"x": 1.0, "k": key} for key in range(40)]

    async def together() -> list[Any]:
        bodies = [[json.dumps({"instances": [row]}).encode()] for row in rows]
        return await asyncio.gather(*(ask_within(replica.app, V1, body) for body in bodies))

    slow = asyncio.run(together())
    quick = [replica.at_once([row], clients) for row in rows]
    for one, other in zip(slow, quick, strict=True):
        assert one.headers[b"x-model-variant"].decode() == variant_of(other)
        assert other.endswith(one.body)
        score = 3.0 if variant_of(other) == "canary" else 2.0
        assert json.loads(one.body)["predictions"] == [score]
    runs = [entry for entry in replica.log.entries if entry.variant == "canary"]
    assert 20 < len(runs) < 60 and {entry.propensity for entry in runs} == {0.5}
    assert replica.share.candidate.requests == len(runs)


@pytest.mark.parametrize("clients", [1, 2], ids=["alone", "gathered"])
@pytest.mark.parametrize("rows", [1, 3000], ids=["one row", "a large body"])
def test_the_champion_answers_what_a_candidate_cannot(
    replica: Replica, clients: int, rows: int
) -> None:
    share = replica.expose(3.0, "root", weight=1.0)
    assert share.model is not None
    share.model.pace = Pace(gathers=True)
    sent = [{"x": -1.0, "k": 5}] * rows
    if rows == 1:
        assert variant_of(replica.at_once(sent, clients)) == "fallback"
    body = json.dumps({"instances": sent}).encode()
    answer = asyncio.run(ask_within(replica.app, V1, [body]))
    assert answer.headers[b"x-model-variant"] == b"fallback"
    assert json.loads(answer.body)["predictions"] == [-2.0] * rows
    entry = replica.log.entries[-1]
    assert (entry.variant, entry.propensity, entry.model.identity.version) == ("fallback", 1.0, 1)
    figures = VariantFigures.model_validate(share.candidate.as_json())
    assert figures.errors == figures.requests == len(replica.log.entries)
    assert share.champion.requests == 0 == figures.scored


def test_what_the_candidate_cannot_read_the_champion_answers(replica: Replica) -> None:
    replica.expose(3.0, "sum", weight=1.0)
    assert variant_of(replica.at_once([{"x": 1.0, "k": 4}])) == "canary"
    assert variant_of(replica.at_once([{"x": 1.0, "k": "UA"}])) == "fallback"
    assert variant_of(replica.at_once([{"x": 1.0}])) == "fallback"
    assert (replica.share.candidate.requests, replica.share.candidate.errors) == (3, 2)


def test_whom_a_request_is_about(replica: Replica) -> None:
    replica.expose(3.0)
    keys = {variant: [] for variant in ("canary", "champion")}
    for key in range(30):
        keys[variant_of(replica.at_once([{"x": 1.0, "k": key}]))].append(key)
    drawn, other = keys["canary"][0], keys["champion"][0]
    told = [(b"x-entity-key", b"%d" % drawn)]
    assert variant_of(replica.at_once([{"x": 1.0, "k": other}], headers=told)) == "canary"
    assert replica.log.entries[-1].entity == b"%d" % drawn
    long = [(b"x-entity-key", b"0" * 201)]
    assert variant_of(replica.at_once([{"x": 1.0, "k": other}], headers=long)) == "champion"
    by_key = [{"x": 1.0, "entity_key": str(drawn)}]
    assert variant_of(replica.at_once(by_key)) == "canary"
    assert variant_of(replica.at_once([{"x": 1.0, "k": str(drawn)}])) == "canary"  # as text
    unknown = {variant_of(replica.at_once([{"x": 1.0}])) for _ in range(60)}
    assert unknown == {"canary", "champion"}  # each request is its own


def test_an_answer_that_was_drawn_says_how_likely_that_was(replica: Replica) -> None:
    def told(answer: bytes) -> tuple[str, bytes | None]:
        found = re.search(rb"x-model-propensity: ([0-9.]+)", answer)
        return variant_of(answer), found and found[1]

    assert told(replica.at_once([{"x": 1.0}])) == ("champion", None)
    replica.expose(3.0, weight=0.25)
    answers = [told(replica.at_once([{"x": 1.0, "k": key}])) for key in range(60)]
    assert set(answers) == {("champion", b"0.75"), ("canary", b"0.25")}
    body = json.dumps({"instances": [{"x": 1.0}]}).encode()
    slow = asyncio.run(ask_within(replica.app, V1, [body])).headers
    assert slow[b"x-model-propensity"] in (b"0.75", b"0.25")
    pinned = asyncio.run(ask_within(replica.app, "/v1/models/line/versions/1:predict", [body]))
    assert b"x-model-propensity" not in pinned.headers
    replica.shares.end(LINE)
    assert told(replica.at_once([{"x": 1.0}])) == ("champion", None)


def test_a_shadow_is_sent_copies_and_answers_nobody(replica: Replica) -> None:
    bundle = make_line(replica.bundles, 3.0)
    traffic = share_of(bundle, "shadow", weight=0.5)
    replica.shares.prepare(LINE, traffic)
    assert replica.shares.expose(LINE, traffic, time.monotonic() + 60)
    told = [[(b"x-entity-key", b"about %d" % key)] if key % 2 else [] for key in range(60)]
    seen = [replica.at_once([{"x": 1.0, "k": k}], headers=told[k]) for k in range(60)]
    assert {variant_of(answer) for answer in seen} == {"champion"}
    share = replica.share
    assert 15 < share.copied + share.dropped < 45 and share.copied - share.dropped in (0, 1)
    entries = {entry.request_id: entry for entry in replica.log.entries}
    for request_id, model, body, entity in replica.mirror.copied:
        assert (model, entries[request_id].propensity) == (LINE, 1.0)
        assert entity == entries[request_id].entity
        key = json.loads(body)["instances"][0]["k"]
        assert entity == (b"about %d" % key if key % 2 else b"")
    assert share.champion.requests == 60
    page = replica.metrics.page().decode()
    assert f'ferryman_shadow_dropped_total{{model="line"}} {float(share.dropped)}' in page
    replica.shares.end(LINE)
    assert replica.mirror.asked == -1


def test_a_lease_that_ran_out_ends_by_itself(replica: Replica) -> None:
    share = replica.expose(3.0, weight=1.0)
    assert variant_of(replica.at_once([{"x": 1.0, "k": 1}])) == "canary"
    share.until = time.monotonic()
    assert variant_of(replica.at_once([{"x": 1.0, "k": 1}])) == "champion"
    assert replica.log.entries[-1].propensity == 1.0
    replica.shares.end_expired()
    assert replica.shares.get(LINE) is None
    assert share.model is not None
    candidate = weakref.ref(share.model)
    replica.log.entries.clear()
    del share
    gc.collect()
    assert candidate() is None  # its memory is free


def test_a_share_stands_beside_one_epoch_with_a_loaded_candidate(replica: Replica) -> None:
    bundle = make_line(replica.bundles, 3.0)
    with pytest.raises(Superseded, match="epoch 2"):
        replica.shares.expose(LINE, share_of(bundle, base_epoch=2), time.monotonic() + 9)
    assert not replica.shares.expose(LINE, share_of(bundle), time.monotonic() + 9)
    with pytest.raises(IntegrityBroken):
        replica.shares.prepare(LINE, share_of(bundle))  # no copy was brought
    share = replica.expose(4.0)
    share.champion.failed()
    renewed = share.traffic.model_copy(update={"fence": 9, "lease": 2.0})
    assert replica.shares.expose(LINE, renewed, time.monotonic() + 2)
    assert replica.share is share and share.traffic.fence == 9
    wider: Traffic = share.traffic.model_copy(update={"weight": 0.75})
    assert replica.shares.expose(LINE, wider, time.monotonic() + 2)
    assert replica.share is not share and replica.share.champion.errors == 1
    later: Traffic = wider.model_copy(update={"stage": 1})
    assert replica.shares.expose(LINE, later, time.monotonic() + 2)
    assert replica.share.champion.errors == 0


def test_samples_are_even_and_merge_in_proportion() -> None:
    parts = []
    for replica, (rows, value) in enumerate(((30_000, 0.0), (10_000, 1.0), (0, 2.0))):
        tally = Tally(str(replica))
        for number in range(rows):
            tally.answered(0.001, [value + number / rows / 10])
        parts.append(VariantFigures.model_validate(tally.as_json()))
    assert parts[0].scored == 30_000 and len(parts[0].scores) == 2000
    assert sum(parts[0].scores) / 2000 == pytest.approx(0.05, abs=0.003)
    whole = merged(parts)
    assert (whole.requests, whole.scored, len(whole.scores)) == (40_000, 40_000, 2000)
    assert sum(score >= 1 for score in whole.scores) == 500
    assert merged([]) == VariantFigures() and merged(parts[2:]) == VariantFigures()
    few = [VariantFigures(scored=1, scores=[float(part)]) for part in range(5)]
    assert merged(few).scores == [0.0, 1.0, 2.0, 3.0, 4.0]
    classes = Tally("c")
    classes.answered(0.001, [[0.1, 0.7, 0.2]] * 200)
    assert classes.as_json()["scores"] == [1.0] and classes.as_json()["scored"] == 1


def test_one_row_speaks_for_its_request_each_as_likely() -> None:
    tally = Tally("r")
    tally.answered(0.001, [0.9] * 500)
    for _ in range(100):
        tally.answered(0.001, [0.1])
    assert sorted(tally.as_json()["scores"]) == [0.1] * 100 + [0.9]
    rows = Tally("s")
    for number in range(6000):
        rows.answered(0.001, [float(number % 2), 2.0, 3.0, 4.0])
    told = rows.as_json()
    counts = Counter(told["scores"])
    assert told["scored"] == 6000 and len(told["scores"]) == 2000
    assert {2.0, 3.0, 4.0} < counts.keys() and counts[0.0] + counts[1.0] < 600
    assert all(400 < counts[value] < 600 for value in (2.0, 3.0, 4.0))
