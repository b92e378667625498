"""`python -m benchmarks.prediction_log [--rounds N]`: logging predictions, against reading them.

Rows as of flights: 5 texts, 11 numbers, an event time and an entity key made of four cells; one row
a request, and 64. CPU time of the whole process a row.

put       what the request pays: queueing an answered request
write     what the log's thread pays: reading the body, columns, the journal, the Parquet file
parse     only reading the same bodies with orjson: the limit
"""

import argparse
import gc
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pyarrow.ipc
import pyarrow.parquet  # noqa: F401  - a server imports it before it answers

from ferryman.runtime.bundle import FeatureColumn, Signature
from ferryman.serving.log.writer import Entry, PredictionLog
from ferryman.serving.models.onnx_model import Identity, OnnxModel
from ferryman.serving.protocols.requests import Request
from ferryman.serving.protocols.routes import find_route

ROWS = 40_000
PER_REQUEST = (1, 64)
GOAL_ROWS = 20_000  # rows a second of the thread's CPU
GOAL_PUT = 1.5e-6
TEXTS = {
    "carrier": ("UA", "AA", "B6", "DL"),
    "origin": ("EWR", "JFK", "LGA"),
    "dest": ("IAH", "MIA", "BQN", "ATL", "ORD"),
    "plane_maker": ("BOEING", "AIRBUS", "EMBRAER"),
    "tailnum": ("N14228", "N24211", "N619AA"),
}
WHOLE = ("departure_minute", "arrival_minute", "weekday", "distance", "plane_age", "plane_seats")
NUMBERS = ("temp", "dewp", "humid", "wind_speed", "visib")


def make_model() -> OnnxModel:
    """What the log asks of a model; it never scores."""
    features = [
        *(FeatureColumn(name=name, type="category") for name in TEXTS),
        *(FeatureColumn(name=name, type="integer") for name in WHOLE),
        *(FeatureColumn(name=name, type="number") for name in NUMBERS),
    ]
    entity = ["carrier", "flight", "origin", "dest"]
    schema = SimpleNamespace(types={column.name: column.type for column in features})
    model = SimpleNamespace(
        identity=Identity("flights", 3, 7, "0" * 64),
        signature=Signature(features=features, entity=entity, output="late"),
        schema=schema,
        classes=0,
    )
    model_hash = cast(Any, type("BenchModel", (SimpleNamespace,), {"__hash__": object.__hash__}))
    return cast(OnnxModel, model_hash(**vars(model)))


def make_row(dice: random.Random) -> dict[str, Any]:
    """One flight."""
    row: dict[str, Any] = {name: dice.choice(words) for name, words in TEXTS.items()}
    row |= {name: dice.randint(0, 2000) for name in WHOLE}
    row |= {
        name: round(dice.uniform(0, 90), 2) if dice.random() < 0.9 else None for name in NUMBERS
    }
    row["flight"] = dice.randint(1, 6000)
    row["event_time"] = f"2013-01-01T{dice.randint(5, 22):02}:{dice.randint(0, 59):02}:00Z"
    return row


def make_entries(model: OnnxModel, size: int) -> list[Entry]:
    """Answered requests of so many rows each."""
    dice = random.Random(7)  # noqa: S311 - the same flights every time
    route = find_route("/v1/models/flights:predict")
    found = []
    for number in range(ROWS // size):
        body = orjson.dumps({"instances": [make_row(dice) for _ in range(size)]})
        scores = [dice.random() for _ in range(size)]
        request_id = b"0123456789abcdef-%x" % number
        found.append(Entry(request_id, model, Request(route, body), scores, time.time(), 0.001))
    return found


def timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(entries: list[Entry], folder: Path) -> dict[str, float]:
    """CPU seconds of one round."""
    drops: list[int] = []
    log = PredictionLog(folder, drops.append)
    put = timed(lambda: [log.put(entry) for entry in entries])

    def write() -> None:
        log.start()
        if not log.flush(600):
            raise RuntimeError("the log did not come to an end")

    def parse() -> None:
        for entry in entries:
            orjson.loads(entry.request.body)

    found = {"put": put, "write": timed(write), "parse": timed(parse)}
    log.close()
    if drops:
        raise RuntimeError(f"{sum(drops)} rows were dropped")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="figures only")
    given = parser.parse_args()
    model = make_model()
    found: dict[int, dict[str, float]] = {}
    for size in PER_REQUEST:
        entries = make_entries(model, size)
        # As in a server: what was there before is not the collector's business.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)
        rounds = []
        for _ in range(given.rounds):
            with tempfile.TemporaryDirectory(prefix="ferryman-bench-") as folder:
                rounds.append(measure(entries, Path(folder)))
        found[size] = {
            way: statistics.median(one[way] for one in rounds) / ROWS for way in rounds[0]
        }
    if given.json:
        print(json.dumps(found))
        return
    report(found, given.rounds)


def report(found: dict[int, dict[str, float]], rounds: int) -> None:
    load = os.getloadavg()[1]
    columns = len(TEXTS) + len(WHOLE) + len(NUMBERS)
    print(f"{columns} columns; median of {rounds} rounds, CPU microseconds a row (load {load:.1f})")
    print(f"{'rows a request':>15}{'put':>8}{'write':>8}{'parse':>8}{'write is':>12}")
    for size, one in found.items():
        figures = "".join(f"{one[way] * 1e6:8.2f}" for way in ("put", "write", "parse"))
        print(f"{size:>15}{figures}{one['write'] / one['parse']:10.1f} x parse")
    slowest = max(one["write"] for one in found.values())
    goals = {
        f"{1 / slowest:,.0f} rows a second of the thread's CPU, at least {GOAL_ROWS:,}": (
            1 / slowest >= GOAL_ROWS
        ),
        f"{found[1]['put'] * 1e6:.2f} microseconds to queue a request, at most "
        f"{GOAL_PUT * 1e6:g}": found[1]["put"] <= GOAL_PUT,
    }
    for text, held in goals.items():
        print(f"{'held  ' if held else 'MISSED'}  {text}")


if __name__ == "__main__":
    main()
