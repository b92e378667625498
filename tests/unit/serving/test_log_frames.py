"""Frames of the journal hold cells exactly as they were checked; torn and odd ones cost little."""

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from logged_entries import FinishedHere, append, batches, entry_of, packed
from pyarrow import parquet

from ferryman.serving.log import finishing, writer
from ferryman.serving.log.finish import Result, finish
from ferryman.serving.log.frames import Frame, frames, joined
from ferryman.serving.log.journal import Journal
from ferryman.serving.log.rows import batches_of
from ferryman.serving.log.writer import PredictionLog
from ferryman.serving.models.onnx_model import Identity, OnnxModel

TIMES = [None, "2013-01-01T10:15:00Z", "2013-01-03T23:59:59.123456Z"]
WORDS = [None, "", "UA", "ÜA", "€", "😀 b", "x" * 300]


@pytest.fixture
def model(tmp_path: Path, make_bundle: Any) -> OnnxModel:
    bundle = make_bundle(tmp_path / "bundles")
    return OnnxModel(bundle.folder, Identity("tiny", 3, 7, bundle.digest))


def some_rows(dice: random.Random, count: int) -> list[dict[str, Any]]:
    return [
        {
            "carrier": dice.choice(WORDS),
            "distance": dice.choice([None, 0.1, -1e30, 5e-324, dice.random() * 1e6]),
            "hour": dice.choice([0, -5, 2**53 - 1, dice.randint(-(2**40), 2**40)]),
            "flight": dice.choice([None, 12, "B6"]),
            "event_time": dice.choice(TIMES),
            "entity_key": dice.choice([None, "", "own key"]),
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_cells_come_back_exactly(model: OnnxModel, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311
    sent = [some_rows(dice, dice.choice([1, 1, 3])) for _ in range(20)]
    entries = [entry_of(model, rows, f"r{number}") for number, rows in enumerate(sent)]
    found = [row for _, batch in batches(*entries) for row in batch.to_pylist()]
    by_request: dict[str, list[Any]] = {}
    for row in found:
        by_request.setdefault(row["request_id"], []).append(row)
    for number, rows in enumerate(sent):
        logged = by_request[f"r{number}"]
        names = ("carrier", "distance", "hour")
        want = sorted((tuple(row[name] for name in names) for row in rows), key=repr)
        assert sorted((tuple(row[name] for name in names) for row in logged), key=repr) == want
    own = [row["entity_key"] for rows in sent for row in rows if row["entity_key"] is not None]
    keys = [row["entity_key"] for row in found]
    assert sum(key in ("", "own key") for key in keys) == len(own)


def test_an_entity_column_that_is_not_logged_makes_the_key(model: OnnxModel) -> None:
    model.signature = model.signature.model_copy(update={"logged": ["hour"]})
    row = {"carrier": "UA", "distance": 1, "hour": 5, "flight": 7, "event_time": TIMES[1]}
    ((_, batch),) = batches(entry_of(model, [row]))
    (logged,) = batch.to_pylist()
    assert logged["entity_key"] == "UA|7|2013-01-01T10:15:00Z"
    assert "carrier" not in logged and "distance" not in logged


def test_a_row_without_a_key_has_the_one_that_its_request_was_sent_with(model: OnnxModel) -> None:
    row = {"carrier": "UA", "distance": 1, "hour": 5}
    whole = {**row, "flight": 7, "event_time": TIMES[1]}
    sent = {
        "told": ([row], "order 7 Ü"),
        "untold": ([row], ""),
        "own": ([{**row, "entity_key": "own"}], "other"),
        "columns": ([whole], "other"),
        "no time": ([{**row, "flight": 7}], "order 8"),
        "several": ([row, row], "order 9"),
    }
    entries = [
        entry_of(model, rows, name)._replace(entity=entity.encode())
        for name, (rows, entity) in sent.items()
    ]
    # Entries of one frame, frames that are joined, also with such as know of no such key.
    for parts in ([entries], [entries[:1], entries[1:2], entries[2:]]):
        journal = b"".join(packed(*part) for part in parts)
        found = [row for _, batch in batches_of(_joined(journal)) for row in batch.to_pylist()]
        keys = {name: [] for name in sent}
        for one in found:
            keys[one["request_id"]].append(one["entity_key"])
        assert keys == {
            "told": ["order 7 Ü"],
            "untold": ["untold#0"],
            "own": ["own"],
            "columns": ["UA|7|2013-01-01T10:15:00Z"],
            "no time": ["order 8"],
            "several": ["several#0", "several#1"],
        }


def _joined(journal: bytes) -> Frame:
    found = [frame for frame in frames(io.BytesIO(journal)) if isinstance(frame, Frame)]
    return joined(found)


def test_joined_frames_hold_what_each_held(model: OnnxModel) -> None:
    dice = random.Random(3)  # noqa: S311
    plain = {"carrier": "UA", "distance": 1.5, "hour": 5}
    parts = [
        packed(entry_of(model, [plain] * 2, "a")),
        packed(entry_of(model, some_rows(dice, 3), "b"), entry_of(model, [plain], "c")),
    ]
    read = [frame for frame in frames(io.BytesIO(b"".join(parts))) if isinstance(frame, Frame)]
    together = joined(read)
    assert together.rows == 6
    assert together.given()["flight"][:2] == [None, None]
    assert np.array_equal(together.lengths("sizes"), [2, 3, 1])


@pytest.mark.parametrize("cut", [1, 5, 16, 100])
def test_only_what_is_torn_is_left_out(model: OnnxModel, cut: int) -> None:
    whole = packed(entry_of(model, [{"carrier": "UA", "distance": 1.5, "hour": 5}]))
    first, torn = frames(io.BytesIO(whole + whole[:-cut]))
    assert isinstance(first, Frame) and first.rows == 1
    assert torn == len(whole) - cut
    changed = bytearray(whole)
    changed[-cut] ^= 1
    (spoilt,) = frames(io.BytesIO(bytes(changed)))
    assert spoilt == len(whole)


def test_a_frame_that_makes_no_sense_costs_no_other(
    model: OnnxModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path, "a")
    good = entry_of(model, [{"carrier": "UA", "distance": 1.5, "hour": 5}] * 2)
    for entry in (good, good._replace(given={"event_time": ["no time", None]}), good):
        append(journal, entry)
    journal.close()
    result = finish(tmp_path)
    assert (result.rows, result.lost, result.problems) == (4, 2, [])
    assert "2 rows make no sense" in caplog.text
    assert list((tmp_path / ".journals").iterdir()) == []


def test_a_child_that_fails_is_tried_again_and_what_waits_is_bounded(
    model: OnnxModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finishing, "_SHORTEST", 0.05)
    monkeypatch.setattr(writer, "_MEASURE_SECONDS", 0.0)
    drops: list[int] = []
    broken = [True]

    def begin() -> Any:
        if broken[0]:
            raise OSError("no more processes")
        return FinishedHere(tmp_path)

    log = PredictionLog(tmp_path, drops.append, spool_bytes=2_500, finish=begin)
    log.start()
    for number in range(6):
        log.put(entry_of(model, [{"carrier": "UA", "distance": 1.5, "hour": 5}], f"r{number}"))
        assert not log.flush(timeout=0.1)
    assert "no process can be started: no more processes" in log.problem
    assert 0 < sum(drops) < 6
    broken[0] = False
    assert log.flush()
    log.close()
    rows = sum(len(list(made)) for made in _rows(tmp_path))
    assert rows + sum(drops) == 6


def _rows(root: Path) -> list[Any]:
    import pyarrow.parquet as pq

    return [pq.ParquetFile(file).read().to_pylist() for file in root.rglob("*.parquet")]


def test_lost_rows_of_a_child_are_counted(model: OnnxModel, tmp_path: Path) -> None:
    class Loser:
        def result(self) -> Result:
            return Result(lost=3)

    drops: list[int] = []
    make: Callable[[], Loser] = Loser
    log = PredictionLog(tmp_path, drops.append, finish=make)
    log.start()
    log.put(entry_of(model, [{"carrier": "UA", "distance": 1.5, "hour": 5}]))
    assert log.flush()
    log.close()
    assert drops[0] == 3


def test_answers_of_different_draws_stay_apart(model: OnnxModel, tmp_path: Path) -> None:
    one = entry_of(model, some_rows(random.Random(1), 1))  # noqa: S311
    log = PredictionLog(tmp_path / "log", lambda _: None)
    drawn = [("champion", 1.0), ("champion", 0.95), ("canary", 0.05), ("fallback", 0.05)]
    for number in range(40):
        variant, propensity = drawn[number % 4]
        told = {"request_id": b"r%d" % number, "variant": variant, "propensity": propensity}
        log.put(one._replace(**told))
    log.start()
    assert log.flush()
    log.close()
    found = [
        (int(row["request_id"][1:]), row["variant"], row["propensity"])
        for file in (tmp_path / "log" / "tiny").rglob("*.parquet")
        for row in parquet.read_table(file).to_pylist()
    ]
    assert sorted(found) == [(number, *drawn[number % 4]) for number in range(40)]


def test_a_journal_of_before_variants_drew_nobody(model: OnnxModel) -> None:
    (frame,) = frames(io.BytesIO(packed(entry_of(model, some_rows(random.Random(2), 1)))))  # noqa: S311
    assert isinstance(frame, Frame)
    old = Frame(
        {key: frame.head[key] for key in frame.head.keys() - {"propensity"}}, frame.sections
    )
    ((_, batch),) = batches_of(joined([old, frame]))
    assert batch["propensity"].to_pylist() == [1.0, 1.0]
